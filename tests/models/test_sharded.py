"""A head whose classes lie on several ranks takes the steps of one that holds them all."""

from __future__ import annotations

import copy
from functools import cache, partial
from types import SimpleNamespace

import pytest
import torch
from exact_runs import (
    HEADS,
    K,
    make_model,
    on_ranks,
    optimizer,
    same_losses,
    same_state,
    train,
)
from mmengine.hooks import EMAHook
from torch import distributed
from torch.nn import functional as F

from bce3s.engine.lazy_sgd import check_sampling
from bce3s.engine.runner import QuietRunner
from bce3s.engine.sharded_rows import take_own_rows, whole_rows
from bce3s.errors import BCE3SError
from bce3s.models import TripartiteHead
from bce3s.models.memory_bank import ClassMemoryBank
from bce3s.models.sharding import ShardedClassifier, ShardedMemoryBank, Spread
from bce3s.models.targets import Targets
from bce3s.randomness import Clock
from bce3s.shards import Shards, log_softmax

CE = dict(joint=dict(type='CEJoint'), contrastive=dict(type='CEContrastive'))
CASES = {name: {} for name in ('bce3s', 'two stages', 'official', 'decay', 'mixed', 'CE')} | {
    # CE on two branches, which needs the sum of the exponentials over the ranks
    'CE TSL': dict(CE, uniformity=None),
}


def options(variant, **more):
    parts = dict(micro_batches=3) if variant == 'decay' else {}
    return dict(head=CASES[variant] | more, **parts)


@cache
def whole(variant):
    model = make_model(variant, **options(variant))
    start = {name: value.clone() for name, value in model.state_dict().items()}
    optim = optimizer(model, variant)
    losses = train(model, variant, optim)
    model.eval()
    scores = model.head(torch.linspace(-1, 1, 5 * 64, dtype=torch.float64).view(5, 64))
    return dict(
        start=start,
        losses=losses,
        state=model.state_dict(),
        scores=scores.detach(),
        momenta=momenta(model, optim),
    )


def momenta(model, optim):
    state = optim.optimizer.state
    return [state[p]['momentum_buffer'].clone() for p in model.head.classifier.parameters()]


def saved(model, optim):
    """What a checkpoint of the run has, on the first rank."""
    with whole_rows(SimpleNamespace(model=model, optim_wrapper=optim)):
        state = {name: value.clone() for name, value in model.state_dict().items()}
        optimizer_state = copy.deepcopy(optim.state_dict())
        return dict(state_dict=state, optimizer=optimizer_state, momenta=momenta(model, optim))


def sharded_runs(variants):
    runs = {}
    for variant in variants:
        model = make_model(variant, **options(variant, shard=True))
        model.init_weights = lambda: None
        QuietRunner._init_model_weights(SimpleNamespace(model=model))  # the first rank's for all
        optim = optimizer(model, variant)
        start = saved_start(model, optim)
        losses = train(model, variant, optim)
        rank = distributed.get_rank()
        x = torch.linspace(-1, 1, 5 * 64, dtype=torch.float64).view(5, 64)[rank:]
        runs[variant] = dict(
            start=start,
            losses=losses,
            scores=model.head(x).detach(),
            linear=[t.detach() for t in model.head.classifier.linear()],
            rows=len(model.head.classifier.weight),
            **saved(model, optim),
        )
        assert len(model.head.classifier.weight) == runs[variant]['rows']  # its own again
    return runs


def saved_start(model, optim):
    with whole_rows(SimpleNamespace(model=model, optim_wrapper=optim)):
        return {name: value.clone() for name, value in model.state_dict().items()}


def backbone(state):
    return {name: value for name, value in state.items() if not name.startswith('head.')}


@pytest.mark.parametrize(
    ('ranks', 'variants'),
    [
        (2, ('bce3s', 'two stages', 'CE TSL')),
        pytest.param(2, tuple(CASES), marks=pytest.mark.slow),
        pytest.param(4, tuple(CASES), marks=pytest.mark.slow),
    ],
)
def test_ranks_with_a_part_of_the_classes_take_the_steps_of_one(ranks, variants, tmp_path):
    """Four ranks have 2, 3, 2 and 3 of ten classes; the last batches of 5 are uneven as well."""
    runs = on_ranks(ranks, partial(sharded_runs, variants), tmp_path)
    for variant in variants:
        expected, each = whole(variant), [run[variant] for run in runs]
        same_state(expected['start'], each[0]['start'])
        for run in each:  # the loss itself, on every rank
            same_losses(expected['losses'], run['losses'])
        same_state(expected['state'], each[0]['state_dict'])
        for ours, theirs in zip(each[0]['momenta'], expected['momenta'], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-8)
        assert sum(run['rows'] for run in each) == K
        for rank, run in enumerate(each):
            torch.testing.assert_close(
                run['scores'], expected['scores'][rank:], rtol=1e-5, atol=1e-8
            )
            for ours, first in zip(run['linear'], each[0]['linear'], strict=True):
                assert torch.equal(ours, first)
            for name, value in backbone(each[0]['state_dict']).items():
                assert torch.equal(run['state_dict'][name], value)


def test_one_process_holds_everything():
    model = make_model('bce3s', head=dict(shard=True))
    assert model.head.shards is None
    assert train(model, 'bce3s') == whole('bce3s')['losses']
    runner = SimpleNamespace(model=model, optim_wrapper=optimizer(model, 'bce3s'))
    before = model.state_dict()
    with whole_rows(runner):
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    checkpoint = dict(state_dict=before)
    take_own_rows(runner, checkpoint)
    assert checkpoint['state_dict'] is before


# ------------------------------------------------------------------------------- checkpoints


def first_epoch(folder):
    model = make_model('bce3s', head=dict(shard=True))
    optim = optimizer(model, 'bce3s')
    train(model, 'bce3s', optim, range(1))
    checkpoint = saved(model, optim)
    if distributed.get_rank() == 0:
        torch.save(checkpoint, folder / 'epoch_1.pth')
    return 0


def second_epoch(folder):
    """Resumed as MMEngine resumes: what is loaded is the checkpoint after the hooks."""
    torch.manual_seed(7)
    model = make_model('bce3s', head=dict(shard=distributed.is_initialized()))
    optim = optimizer(model, 'bce3s')
    checkpoint = torch.load(folder / 'epoch_1.pth', weights_only=True)
    take_own_rows(SimpleNamespace(model=model, optim_wrapper=optim), checkpoint)
    model.load_state_dict(checkpoint['state_dict'])
    optim.load_state_dict(checkpoint['optimizer'])
    losses = train(model, 'bce3s', optim, range(1, 2))
    return dict(losses=losses, state=saved(model, optim)['state_dict'])


@pytest.mark.parametrize(
    'ranks', [1, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
def test_another_number_of_ranks_goes_on(ranks, tmp_path):
    on_ranks(2, partial(first_epoch, tmp_path), tmp_path)
    checkpoint = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
    assert checkpoint['state_dict']['head.classifier.weight'].shape == (K, 64)
    assert checkpoint['state_dict']['head.bank.features'].shape == (K, 16)
    if ranks == 1:
        runs = [second_epoch(tmp_path)]
    else:
        runs = on_ranks(ranks, partial(second_epoch, tmp_path), tmp_path)
    same_losses(whole('bce3s')['losses'][10:], *(run['losses'] for run in runs))
    same_state(whole('bce3s')['state'], runs[0]['state'])


# ------------------------------------------------------------------------------- clipped gradients


def clipped_run():
    model = make_model('bce3s', head=dict(shard=distributed.is_initialized()))
    optim = optimizer(model, 'bce3s', clip_grad=dict(max_norm=0.5))
    check_sampling(model.head, optim)
    losses = train(model, 'bce3s', optim, range(1))
    return dict(losses=losses, state=saved(model, optim)['state_dict'])


@pytest.mark.slow
def test_gradients_are_clipped_by_the_norm_over_all_ranks(tmp_path):
    one, ranks = clipped_run(), on_ranks(2, clipped_run, tmp_path)
    same_losses(one['losses'], *(run['losses'] for run in ranks))
    same_state(one['state'], ranks[0]['state'])
    for name, value in backbone(ranks[0]['state']).items():
        assert torch.equal(value, ranks[1]['state'][name])


# ------------------------------------------------------------------------------- pieces


@pytest.mark.parametrize('ranks', [2, 3, 7])
def test_every_row_lies_on_one_rank(ranks):
    rows = torch.arange(23)
    shards = [Shards(23, rank, ranks) for rank in range(ranks)]
    assert torch.equal(torch.cat([s.take(rows) for s in shards]), rows)
    assert max(len(s.take(rows)) for s in shards) - min(len(s.take(rows)) for s in shards) <= 1


@pytest.mark.parametrize('init', ['kaiming_normal', 'kaiming_uniform'])
@pytest.mark.parametrize('classes', [10, 9001])
def test_initial_weights_are_those_of_the_whole(classes, init):
    """9,001 classes are drawn in three blocks; random numbers drawn afterwards agree as well."""
    args = dict(bias=True, normalize=True, normalize_feature=False, scale=1.0, init=init)
    values = (*args.values(), 6.0)

    def head(shard):
        torch.manual_seed(3)
        shards = Shards(classes, 1, 3)
        if shard:
            return ShardedClassifier(shards, 20, *values), torch.rand(3)
        whole = TripartiteHead(classes, 20, dict(type='BCEJoint'), init=init, bias_mean=6.0)
        return whole.classifier, torch.rand(3)

    (part, after), (whole, expected) = head(True), head(False)
    shards = part.shards
    assert torch.equal(part.weight, shards.take(whole.weight))
    assert torch.equal(part.bias, shards.take(whole.bias))
    assert torch.equal(after, expected)


@pytest.mark.parametrize('labels', [[0, 9, 3, 4, 9, 3], [5, 4, 5, 3], [0, 9, 1], [9]])
@pytest.mark.parametrize('rank', [0, 1, 2])
def test_a_rank_writes_its_classes_into_the_bank(labels, rank):
    gen = torch.Generator().manual_seed(0)
    shards, batch = Shards(10, rank, 3), Targets.plain(torch.tensor(labels), Clock())
    own, whole = ShardedMemoryBank(shards, 4), ClassMemoryBank(10, 4)
    seen = torch.arange(0, 10, 2)
    for bank in (own, whole):
        bank.update(torch.arange(20.0).view(5, 4), Targets.plain(seen, Clock()))
    assert torch.equal(own.filled, shards.take(whole.filled))
    features = torch.randn(len(labels), 4, generator=gen)
    own.update(features, batch)
    whole.update(features, batch)
    assert torch.equal(own.features, shards.take(whole.features))
    assert torch.equal(own.filled, shards.take(whole.filled))


def test_refuses(monkeypatch):
    bce = dict(joint=dict(type='BCEJoint'))
    with pytest.raises(BCE3SError, match=r'shard=True is not made for sample_rate=0\.5'):
        TripartiteHead(K, 4, shard=True, sample_rate=0.5, **bce)
    with pytest.raises(BCE3SError, match='shard=True is not made for CEUniformity'):
        TripartiteHead(K, 4, shard=True, **HEADS['CE TSL'])
    head = TripartiteHead(K, 4, **bce)
    monkeypatch.setattr(head, 'shards', Shards(K, 0, 2))
    model = SimpleNamespace(parameters=lambda: iter(head.parameters()))
    with pytest.raises(BCE3SError, match='EMAHook would save the average of one rank'):
        check_sampling(head, optimizer(model, 'bce3s'), [EMAHook()])
    clip = dict(max_norm=1.0, norm_type=float('inf'))
    with pytest.raises(BCE3SError, match='cannot be clipped by their largest number'):
        check_sampling(head, optimizer(model, 'bce3s', clip_grad=clip))


def test_few_classes_for_many_ranks(monkeypatch):
    monkeypatch.setattr('bce3s.shards.get_dist_info', lambda: (0, 4))
    with pytest.raises(BCE3SError, match='3 classes cannot lie on 4 ranks'):
        TripartiteHead(3, 4, shard=True, joint=dict(type='BCEJoint'))


def test_without_shards_nothing_is_spread():
    x, batch = torch.randn(4, 3), Targets.plain(torch.arange(4), Clock())
    spread = Spread(batch, None)
    assert spread(x) is x
    assert spread.targets is batch
    assert torch.equal(log_softmax(x), F.log_softmax(x, -1))
