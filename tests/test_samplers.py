"""What is drawn: exact class probabilities, frequencies, batches of one and of many ranks."""

from __future__ import annotations

import math
from itertools import chain
from types import SimpleNamespace

import oracles
import pytest
import torch
from torch.utils.data import TensorDataset

from bce3s import samplers
from bce3s.errors import BCE3SError
from bce3s.registry import DATA_SAMPLERS
from bce3s.samplers import (
    EffectiveNumberSampler,
    GlobalBatchSampler,
    NaturalSampler,
    PairedBatchSampler,
    PowerSampler,
    ProgressiveSampler,
)

COUNTS = [60, 25, 9, 4, 2]  # N = 100
N, K = sum(COUNTS), len(COUNTS)


def toy(counts=COUNTS, copies=1):
    """Labels in a random order, so that a class is no run of indices."""
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts) * copies)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(9))
    names = [f'class-{k}' for k in range(len(counts))]
    metainfo = dict(class_counts=[n * copies for n in counts], classes=names)
    return SimpleNamespace(labels=labels[order], metainfo=metainfo)


def shares(mass):
    return [m / sum(mass) for m in mass]


SCHEMES = {
    'power 0': (lambda d: PowerSampler(d, 0, 1), shares(COUNTS)),
    'power .2': (lambda d: PowerSampler(d, 0.2, 1), shares([n * n**-0.2 for n in COUNTS])),
    'power 1.5': (lambda d: PowerSampler(d, 1.5, 1), shares([n * n**-1.5 for n in COUNTS])),
    'balanced': (lambda d: PowerSampler(d, 1, 1), [1 / K] * K),
    'square root': (lambda d: PowerSampler(d, 0.5, 1), shares([math.sqrt(n) for n in COUNTS])),
    'effective': (
        lambda d: EffectiveNumberSampler(d, 0.9, 1),
        shares([n * w for n, w in zip(COUNTS, oracles.class_balanced(COUNTS, 0.9), strict=True)]),
    ),
}


@pytest.mark.parametrize('scheme', SCHEMES)
def test_class_probabilities(scheme):
    build, expected = SCHEMES[scheme]
    probabilities = build(toy()).class_probabilities()
    assert probabilities.dtype == torch.float64
    assert probabilities.tolist() == pytest.approx(expected, rel=1e-9)


def within_five_sigma(drawn, expected):
    """Pearson's chi-square: mean K - 1, variance 2 (K - 1)."""
    expected = torch.tensor(expected) * drawn.sum()
    chi_square = ((drawn - expected) ** 2 / expected).sum().item()
    freedom = len(expected) - 1
    return chi_square < freedom + 5 * math.sqrt(2 * freedom)


@pytest.mark.parametrize('scheme', SCHEMES)
def test_drawn_frequencies(scheme):
    """Of the classes, and of the samples within the largest one."""
    build, expected = SCHEMES[scheme]
    data = toy()
    sampler, drawn = build(data), []
    for epoch in range(300):
        sampler.set_epoch(epoch)
        drawn += list(sampler)
    drawn = torch.tensor(drawn)
    assert len(drawn) == 300 * N
    assert within_five_sigma(torch.bincount(data.labels[drawn], minlength=K), expected)
    of_largest = torch.bincount(drawn, minlength=N)[data.labels == 0]
    assert within_five_sigma(of_largest, [1 / COUNTS[0]] * COUNTS[0])


def test_progressive_goes_from_natural_to_balanced():
    """Kang et al., Eq. 2; T epochs, the first natural, the last balanced, and so it stays."""
    sampler = ProgressiveSampler(toy(), epochs=5, seed=0)
    for epoch in range(8):
        sampler.set_epoch(epoch)
        t = min(epoch / 4, 1)
        expected = [(1 - t) * n / N + t / K for n in COUNTS]
        assert sampler.class_probabilities().tolist() == pytest.approx(expected, rel=1e-12)
    assert ProgressiveSampler(toy(), epochs=1, seed=0).class_probabilities().sum() == 1
    with pytest.raises(BCE3SError, match='epochs must be at least 1'):
        ProgressiveSampler(toy(), epochs=0, seed=0)


def test_natural_is_a_permutation():
    sampler = NaturalSampler(toy(), seed=0)
    assert sorted(sampler) == list(range(N))
    assert list(sampler) != list(range(N))
    assert len(sampler) == N


BUILDERS = [
    lambda d, s: NaturalSampler(d, s),
    lambda d, s: PowerSampler(d, 0.5, s),
    lambda d, s: ProgressiveSampler(d, 5, s),
    lambda d, s: EffectiveNumberSampler(d, 0.99, s),
    lambda d, s: PowerSampler(d, 1, s),
]


@pytest.mark.parametrize('build', BUILDERS)
def test_the_order_is_a_function_of_seed_and_epoch(build):
    def order(seed, epoch):
        sampler = build(toy(), seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)
    stepped = build(toy(), 1)
    list(stepped)  # epochs before it leave no trace
    stepped.set_epoch(2)
    assert list(stepped) == order(1, 2)


def test_a_sampler_needs_a_sample_of_each_class():
    with pytest.raises(BCE3SError, match=r'class 1 \(class-1\) has no training sample'):
        PowerSampler(toy([3, 0, 2]), 1.0, 0)


# ----------------------------------------------------------------------------------------- batches


def joined(parts):
    return list(chain.from_iterable(parts))


def ranks(monkeypatch, world_size, build):
    """The batches of each rank."""
    result = []
    for rank in range(world_size):
        monkeypatch.setattr(samplers, 'rank_and_world_size', lambda r=rank: (r, world_size))
        result.append(build())
    return result


@pytest.mark.parametrize('world_size', [1, 2, 3, 4])
@pytest.mark.parametrize('drop_last', [True, False])
@pytest.mark.parametrize('count', [96, 97, 98, 101, 107])
def test_ranks_take_slices_of_the_batches_of_one_process(monkeypatch, world_size, drop_last, count):
    data = toy([count - 10, 6, 4])
    batch_size = 12 // world_size

    def batches(size=batch_size):
        batcher = GlobalBatchSampler(NaturalSampler(data, 3), size, drop_last)
        batcher.sampler.set_epoch(4)
        listed = list(batcher)
        assert len(batcher) == len(listed)
        sizes = [batcher.sizes(i)[batcher.rank] for i in range(len(listed))]
        stand_ins.extend(part for part, n in zip(listed, sizes, strict=True) if n == 0)
        return [part[:n] for part, n in zip(listed, sizes, strict=True)]

    stand_ins = []
    per_rank = ranks(monkeypatch, world_size, batches)
    (one,) = ranks(monkeypatch, 1, lambda: batches(12))
    together = [joined(parts) for parts in zip(*per_rank, strict=True)]
    assert together == one
    drawn = joined(together)
    assert len(set(drawn)) == len(drawn)
    assert len(drawn) == (count // 12 * 12 if drop_last else count)
    for parts in zip(*per_rank, strict=True):
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1
    last = count % 12
    assert len(stand_ins) == (0 if drop_last or not last else max(0, world_size - last))
    assert all(len(part) == 1 and part[0] in one[-1] for part in stand_ins)


def test_one_process_draws_every_sample():
    batches = list(GlobalBatchSampler(NaturalSampler(toy(), 0), 7))
    assert sorted(joined(batches)) == list(range(N))
    assert [len(b) for b in batches] == [7] * 14 + [2]


def test_a_sampler_by_itself_shares_out_too(monkeypatch):
    parts = ranks(monkeypatch, 3, lambda: list(NaturalSampler(toy(), 0)))
    assert sorted(joined(parts)) == list(range(N))
    lengths = ranks(monkeypatch, 3, lambda: len(NaturalSampler(toy(), 0)))
    assert lengths == [len(part) for part in parts]


@pytest.mark.parametrize('world_size', [1, 2, 3])
@pytest.mark.parametrize('q', [0, 0.2])
def test_pairs(monkeypatch, world_size, q):
    data = toy()

    def batches(size=12 // world_size):
        cfg = dict(type='PowerSampler', q=q) if q else None
        batcher = PairedBatchSampler(NaturalSampler(data, 3), size, partner=cfg)
        batcher.sampler.set_epoch(2)
        return list(batcher)

    def halves(batch):
        assert len(batch) % 2 == 0
        return batch[: len(batch) // 2], batch[len(batch) // 2 :]

    per_rank = ranks(monkeypatch, world_size, batches)
    (one,) = ranks(monkeypatch, 1, lambda: batches(12))
    for parts, whole in zip(zip(*per_rank, strict=True), one, strict=True):
        own, partner = (joined(side) for side in zip(*map(halves, parts), strict=True))
        assert (own, partner) == halves(whole)
    natural = joined(halves(b)[0] for b in one)
    monkeypatch.setattr(samplers, 'rank_and_world_size', lambda: (0, 1))
    plain = GlobalBatchSampler(NaturalSampler(data, 3), 12)
    plain.sampler.set_epoch(2)
    assert natural == joined(plain)  # the partners disturb nothing
    assert sorted(natural) == list(range(N))


def test_partners_are_drawn_by_inverse_frequency():
    data, q, drawn = toy(), 0.7, []
    cfg = dict(type='PowerSampler', q=q)
    batcher = PairedBatchSampler(NaturalSampler(data, 3), 20, partner=cfg)
    for epoch in range(200):
        batcher.sampler.set_epoch(epoch)
        batches = list(batcher)
        assert [len(b) for b in batches] == [40] * 5
        partners = [b[20:] for b in batches]
        drawn += joined(partners)
        assert partners != [b[:20] for b in batches]
    counts = torch.bincount(data.labels[torch.tensor(drawn)], minlength=K)
    assert within_five_sigma(counts, shares([n * n**-q for n in COUNTS]))
    assert cfg == dict(type='PowerSampler', q=q)  # a second build works


def test_partners_are_not_the_samples_themselves():
    """Two streams, even where both halves are drawn by the same rule with the same seed."""
    batcher = PairedBatchSampler(PowerSampler(toy(), 0, seed=3), N)
    (batch,) = batcher
    assert sum(a == b for a, b in zip(batch[:N], batch[N:], strict=True)) < N / 10


def test_partners_default_to_natural_frequencies_with_replacement():
    batcher = PairedBatchSampler(NaturalSampler(toy(), 3), N)
    assert batcher.partner.class_probabilities().tolist() == pytest.approx(shares(COUNTS))
    (batch,) = batcher
    assert len(set(batch[:N])) == N
    assert len(set(batch[N:])) < N


def test_class_aware_draws_of_several_labels_a_picture():
    """A class, each as often, then a picture with it, each as often; none without any."""
    labels = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1], [-1, 1, 0]] * 800).char()
    sampler = PowerSampler(labels, q=1)
    assert sampler.class_counts.tolist() == [2400, 1600, 800]
    drawn = torch.bincount(sampler.order() % 5, minlength=5) / len(labels)
    expected = torch.tensor([1 / 9 + 1 / 6, 1 / 9, 0, 1 / 9 + 1 / 3, 1 / 6])
    torch.testing.assert_close(drawn, expected, atol=0.03, rtol=0)
    assert drawn[2] == 0
    assert sorted(NaturalSampler(labels).order().tolist()) == list(range(4000))  # each picture once


def test_what_has_no_labels():
    data = TensorDataset(torch.zeros(3, 1))
    with pytest.raises(BCE3SError, match='TensorDataset has neither labels nor targets'):
        NaturalSampler(data)


def test_built_by_config():
    sampler = DATA_SAMPLERS.build(dict(type='PowerSampler', q=0.5, dataset=toy(), seed=0))
    cfg = dict(type='GlobalBatchSampler', sampler=sampler, batch_size=8)
    assert len(DATA_SAMPLERS.build(cfg)) == 13


def test_a_batch_sampler_needs_a_sampler_of_ours():
    with pytest.raises(BCE3SError, match='not RandomSampler: use NaturalSampler or PowerSampler'):
        PairedBatchSampler(torch.utils.data.RandomSampler(range(5)), 2)


# ------------------------------------------------------------ within an epoch
@pytest.mark.parametrize('paired', [False, True])
def test_the_first_batches_are_left_out_once(paired):
    kind = PairedBatchSampler if paired else GlobalBatchSampler
    batches = kind(NaturalSampler(toy(), 1), 12)
    batches.sampler.set_epoch(3)
    whole = list(batches)
    for first in (0, 1, 8, 9):
        batches.first = first
        assert list(batches) == whole[first:]
        assert len(batches) == 9
        assert list(batches) == whole  # it was for one iteration


@pytest.mark.parametrize('workers', [0, 2])
def test_a_loader_leaves_them_out_with_workers_too(workers):
    class Rows(torch.utils.data.Dataset):
        labels, metainfo = toy().labels, toy().metainfo

        def __getitem__(self, i):
            return i

    batches = PairedBatchSampler(NaturalSampler(Rows(), 1), 12)
    loader = torch.utils.data.DataLoader(Rows(), batch_sampler=batches, num_workers=workers)
    whole = [batch.tolist() for batch in loader]
    batches.first = 6
    assert [batch.tolist() for batch in loader] == whole[6:]
    assert len([batch.tolist() for batch in loader]) == 9


@pytest.mark.parametrize('world_size', [1, 2, 3, 4])
@pytest.mark.parametrize('drop_last', [False, True])
def test_every_rank_knows_the_sizes_of_all(monkeypatch, world_size, drop_last):
    sizes = []
    for rank in range(world_size):
        monkeypatch.setattr(samplers, 'rank_and_world_size', lambda rank=rank: (rank, world_size))
        batches = GlobalBatchSampler(NaturalSampler(toy(), 1), 3, drop_last)
        sizes.append([len(batch) for batch in batches])
        known = [batches.sizes(i) for i in range(len(batches))]
    held = [tuple(max(1, n) for n in of_all) for of_all in known]  # one stands in for none
    assert held == list(zip(*sizes, strict=True))
    assert sum(map(sum, known)) == (len(known) * 3 * world_size if drop_last else N)
    assert batches.global_batch_size == 3 * world_size


def test_plain_labels_and_partners_draw_what_a_data_set_and_a_config_draw():
    labels = toy().labels
    plain = PairedBatchSampler(
        NaturalSampler(labels, seed=3),
        8,
        partner=PowerSampler(labels.tolist(), q=0.2, seed=3, stream='partner order'),
    )
    partner = dict(type='PowerSampler', q=0.2)
    built = PairedBatchSampler(NaturalSampler(toy(), seed=3), 8, partner=partner)
    assert list(plain) == list(built)
    assert isinstance(built.partner, PowerSampler)
    with pytest.raises(BCE3SError, match='class 1 has no training sample'):
        PowerSampler([0, 2, 2], q=1)
