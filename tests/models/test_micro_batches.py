"""A batch in parts takes the step of the batch, in one process and in two."""

from __future__ import annotations

from functools import cache, partial

import pytest
import torch
from exact_runs import (
    HEADS,
    MIX,
    WHOLE,
    K,
    make_model,
    on_ranks,
    optimizer,
    same_losses,
    same_state,
    train,
)
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope

from bce3s.errors import BCE3SError
from bce3s.models.classifier import LongTailedClassifier
from bce3s.models.data_parallel import split
from bce3s.models.share import Share
from bce3s.models.targets import Targets
from bce3s.randomness import Clock
from benchmarks.timing import peak_memory


@cache
def whole(variant):
    model = make_model(variant)
    return dict(losses=train(model, variant), state=model.state_dict())


DIVISIBLE = [variant for variant in HEADS if variant not in WHOLE]
ALL = [(variant, parts) for variant in DIVISIBLE for parts in (2, 3, 4)]
FAST = [('bce3s', 4), ('two stages', 3), ('sampled', 3), ('CE TSL', 2), ('decay', 3), ('mixed', 4)]
FAST += [('NC-DRW', 3), ('rotated ETF', 2), ('GLMC', 3), ('experts', 3)]


@pytest.mark.parametrize(
    ('variant', 'parts'),
    [case if case in FAST else pytest.param(*case, marks=pytest.mark.slow) for case in ALL],
)
def test_parts_take_the_steps_of_the_batch(variant, parts):
    """Four parts of the last batch of 5 are of 1, 1, 1 and 2 samples."""
    model = make_model(variant, micro_batches=parts)
    same_losses(whole(variant)['losses'], train(model, variant))
    same_state(whole(variant)['state'], model.state_dict())


def both_parts_and_ranks(variants):
    runs = {}
    for variant in variants:
        model = make_model(variant, micro_batches=3)
        runs[variant] = dict(losses=train(model, variant), state=model.state_dict())
    return runs


@pytest.mark.parametrize(
    'variants',
    [
        ('bce3s', 'two stages', 'several labels, two stages', 'H2T and LWS, two stages', 'sampled'),
        pytest.param(tuple(DIVISIBLE), marks=pytest.mark.slow),
    ],
)
def test_parts_on_two_ranks_take_the_steps_of_one(variants, tmp_path):
    """The last batch of 5 lies on them as 2 and 3 samples, so it goes in two parts on both."""
    first, second = on_ranks(2, partial(both_parts_and_ranks, variants), tmp_path)
    for variant in variants:
        expected, a, b = whole(variant), first[variant], second[variant]
        same_losses(expected['losses'], a['losses'], b['losses'])
        same_state(expected['state'], a['state'])
        assert all(torch.equal(v, b['state'][k]) for k, v in a['state'].items())


def test_more_parts_than_samples():
    model = make_model('bce3s', micro_batches=50)
    same_losses(whole('bce3s')['losses'], train(model, 'bce3s'))
    same_state(whole('bce3s')['state'], model.state_dict())


@pytest.mark.parametrize('variant', ['bce3s', 'sampled'])
def test_gradients_are_clipped_when_all_parts_are_there(variant):
    runs = []
    for parts in (1, 3):
        model = make_model(variant, micro_batches=parts)
        optim = optimizer(model, variant, clip_grad=dict(max_norm=0.5))
        runs.append((train(model, variant, optim, range(1)), model.state_dict()))
    same_losses(runs[0][0], runs[1][0])
    same_state(runs[0][1], runs[1][1])
    unclipped = whole(variant)['losses'][5]['loss']
    assert abs(runs[0][0][5]['loss'] - unclipped) > 1e-3 * unclipped


def targets(sizes=(7,), rank=0):
    share = Share(sizes, rank)
    labels = torch.arange(share.total)
    own, lam = share.take(labels), torch.tensor([1.0, 0.4])
    return Targets(own, ('origin', 'mixup'), lam, own + 10, labels, share, Clock())


@pytest.mark.parametrize(
    ('parts', 'expected'), [(1, [7]), (2, [3, 4]), (3, [2, 2, 3]), (9, [1] * 7)]
)
def test_the_parts_are_contiguous_and_alike_in_every_view(parts, expected):
    whole = targets()
    images = torch.arange(14.0).view(14, 1, 1, 1)
    pieces = list(split(images, whole, parts))
    assert [len(part.labels) for _, part in pieces] == expected
    assert torch.cat([part.labels for _, part in pieces]).tolist() == list(range(7))
    assert [part.last for _, part in pieces] == [False] * (len(pieces) - 1) + [True]
    for rows, part in pieces:
        assert part.per_view(rows).flatten(1).tolist() == [
            part.labels.tolist(),
            (part.labels + 7).tolist(),
        ]
        assert torch.equal(part.partners, part.labels + 10)
        assert torch.equal(part.all_labels, whole.all_labels)


def test_ranks_have_as_many_parts():
    """For each may end in an exchange with the others."""
    counts = [len(list(split(torch.zeros(2 * (2 + r), 1), targets((2, 3), r), 4))) for r in (0, 1)]
    assert counts == [2, 2]


class Recorder(OptimWrapper):
    """What happens to it, and to the bank meanwhile."""

    def __init__(self, *args, bank):
        super().__init__(*args)
        self.bank, self.events, self.values = bank, [], []

    def backward(self, loss, **kwargs):
        self.events.append('backward')
        self.values.append((loss.item(), self.bank.filled.any().item()))
        super().backward(loss, **kwargs)

    def step(self, **kwargs):
        self.events.append('step')
        super().step(**kwargs)

    def zero_grad(self, **kwargs):
        self.events.append('zero_grad')
        super().zero_grad(**kwargs)


def test_all_backward_passes_come_before_the_step():
    """The bank is written in the last forward pass; the last loss has the value of all."""
    model = make_model('bce3s', micro_batches=3)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    optim = Recorder(sgd, bank=model.head.bank)
    losses = train(model, 'bce3s', optim, range(1))
    assert optim.events[:5] == [*['backward'] * 3, 'step', 'zero_grad']
    assert optim.events[5:10] == optim.events[:5]
    assert [filled for _, filled in optim.values[:3]] == [False, False, True]
    assert optim.values[2][0] == pytest.approx(losses[0]['loss'], rel=1e-12)
    assert optim.values[0][0] < losses[0]['loss']


@pytest.mark.parametrize('parts', [0, -1, 1.5, '2'])
def test_refuses(parts):
    with pytest.raises(BCE3SError, match='micro_batches must be a whole number of parts'):
        make_model('CE', micro_batches=parts)


@pytest.mark.slow
def test_the_network_needs_the_memory_of_a_part():
    """ResNet-32, 64 samples in three views."""
    with DefaultScope.overwrite_default_scope('bce3s'):
        model = LongTailedClassifier(
            backbone=dict(type='CIFARResNet', depth=32),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='TripartiteHead', num_classes=K, in_channels=64, **HEADS['bce3s']),
            data_preprocessor=dict(
                type='LongTailedPreprocessor', mean=(0.5,) * 3, std=(0.3,) * 3, **MIX
            ),
        ).train()
    labels = torch.arange(128) % K
    images = torch.zeros(128, 3, 32, 32, dtype=torch.uint8)
    batch = dict(inputs=images, data_samples=dict(labels=labels, indices=labels))
    optim = optimizer(model, 'bce3s')
    peaks = []
    for model.micro_batches in (4, 1, 4, 1):
        peaks.append(peak_memory(lambda: model.train_step(batch, optim), 'cpu'))
    if None in peaks:
        pytest.skip('peak memory cannot be measured here')
    assert peaks[2] < 0.45 * peaks[3]
