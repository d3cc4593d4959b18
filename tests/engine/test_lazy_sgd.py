"""LazySGD on sparse gradients takes the steps of PyTorch's SGD on the same gradients, dense."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from bce3s.engine import lazy_sgd
from bce3s.engine.lazy_sgd import LazySGD
from bce3s.errors import BCE3SError
from bce3s.models.sampled import SampledClassifier

K, D, S = 40, 5, 6
KINDS = [
    dict(),
    dict(momentum=0.9),
    dict(weight_decay=0.05),
    dict(momentum=0.9, weight_decay=0.05),
    dict(momentum=0.9, weight_decay=0.05, nesterov=True),
    dict(momentum=0.5, nesterov=True),
    dict(momentum=0.9, weight_decay=0.05, fused=True),
]


class Net(nn.Module):
    """A backbone of one matrix, and a classifier whose rows are sampled."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Linear(3, D)
        self.classifier = SampledClassifier(D, K)
        self.to(dtype)

    def loss(self, classes, images, sparse):
        if sparse:
            weight, bias = self.classifier.rows(classes)
        else:
            weight, bias = (rows[classes] for rows in self.classifier.rows())
        return self.classifier.scores(self.backbone(images), weight, bias).square().mean()


def groups(net):
    """Two: the classifier with a rate and a decay of its own."""
    return [
        dict(params=net.backbone.parameters()),
        dict(params=net.classifier.parameters(), lr=0.3, weight_decay=0.02),
    ]


def batch(step, dtype):
    gen = torch.Generator().manual_seed(step)
    classes = torch.randperm(K, generator=gen)[:S]
    return classes, torch.randn(4, 3, generator=gen, dtype=dtype)


def train(net, optimizer, steps, sparse=None, dtype=torch.float64):
    """With a rate that changes in every step and a decay that changes once."""
    sparse = isinstance(optimizer, LazySGD) if sparse is None else sparse
    for step in steps:
        for number, group in enumerate(optimizer.param_groups):
            group['lr'] = (0.1 + 0.2 * number) * (1 + (step * 7) % 5) / 5
            if step == 100:
                group['weight_decay'] /= 2
        optimizer.zero_grad()
        net.loss(*batch(step, dtype), sparse).backward()
        assert net.classifier.weight.grad.is_sparse == sparse
        assert net.classifier.bias.grad.is_sparse == sparse
        optimizer.step()


def both(kind, dtype=torch.float64):
    lazy, dense = Net(dtype), Net(dtype)
    return (
        (lazy, LazySGD(groups(lazy), lr=0.1, **kind)),
        (dense, torch.optim.SGD(groups(dense), lr=0.1, **kind)),
    )


def same(lazy, dense, rtol=1e-12, atol=1e-12):
    """Weights and momenta, read as a checkpoint reads them."""
    states = [(net.state_dict(), optimizer.state_dict()) for net, optimizer in (lazy, dense)]
    for name, value in states[1][0].items():
        torch.testing.assert_close(states[0][0][name], value, rtol=rtol, atol=atol)
    ours, theirs = (state['state'] for _, state in states)
    assert ours.keys() == theirs.keys()
    for key in theirs:
        torch.testing.assert_close(ours[key], theirs[key], rtol=rtol, atol=atol)


@pytest.mark.parametrize('kind', KINDS)
def test_it_takes_the_steps_of_dense_sgd(kind):
    lazy, dense = both(kind)
    start = copy.deepcopy(lazy[0].state_dict())
    for net, optimizer in (lazy, dense):
        train(net, optimizer, range(250))
    same(lazy, dense)
    assert not torch.equal(start['classifier.weight'], lazy[0].classifier.weight)


@pytest.mark.parametrize('kind', KINDS[-3:-1])
def test_in_float32(kind):
    lazy, dense = both(kind, torch.float32)
    for net, optimizer in (lazy, dense):
        train(net, optimizer, range(200), dtype=torch.float32)
    same(lazy, dense, rtol=1e-4, atol=1e-5)


def test_rows_are_behind_until_they_are_read():
    """So that the tests here compare something; and each kind of read brings up to date."""
    reads = dict(
        rows=lambda net: net.classifier.rows(torch.arange(K))[0],
        logits=lambda net: net.classifier(torch.ones(1, D, dtype=torch.float64)),
        linear=lambda net: net.classifier.linear()[0],
        state=lambda net: net.state_dict()['classifier.weight'],
        copy=lambda net: copy.deepcopy(net).classifier.weight,
        load=lambda net: net.load_state_dict(dict(), strict=False),
    )
    for name, read in reads.items():
        lazy, dense = both(KINDS[3])
        for net, optimizer in (lazy, dense):
            train(net, optimizer, range(9))
        behind = (lazy[0].classifier.weight - dense[0].classifier.weight).abs().amax(1) > 1e-6
        assert 10 < behind.sum() < K, name
        got, want = read(lazy[0]), read(dense[0])
        if isinstance(got, torch.Tensor):
            torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
        weights = [net.classifier.weight for net, _ in (lazy, dense)]
        torch.testing.assert_close(*weights, rtol=1e-12, atol=1e-12)


def test_rows_sampled_at_the_last_step_are_current():
    lazy, dense = both(KINDS[3])
    for net, optimizer in (lazy, dense):
        train(net, optimizer, range(9))
    classes = batch(8, torch.float64)[0]
    rows = [net.classifier.weight[classes] for net, _ in (lazy, dense)]
    torch.testing.assert_close(*rows, rtol=1e-12, atol=1e-12)


def test_it_never_falls_behind_further_than_stated(monkeypatch):
    monkeypatch.setattr(lazy_sgd, 'LONGEST', 7)
    monkeypatch.setattr(lazy_sgd, 'BLOCK', 3 * D)  # 14 blocks of rows, the last of one
    lazy, dense = both(KINDS[4])
    for net, optimizer in (lazy, dense):
        train(net, optimizer, range(40))
    assert max(lag.steps for lag in lazy[1]._lags.values()) <= 7
    same(lazy, dense)


@pytest.mark.parametrize('kind', KINDS[2:5])
def test_a_saved_state_goes_on_as_it_would_have(kind):
    """Also into and from PyTorch's SGD: the states are the same."""
    runs = both(kind)
    for net, optimizer in runs:
        train(net, optimizer, range(30))
    saved = [copy.deepcopy((net.state_dict(), optimizer.state_dict())) for net, optimizer in runs]
    for source in (0, 1):
        resumed = both(kind)
        for net, optimizer in resumed:
            train(net, optimizer, range(50, 60))  # something that loading must undo
            net.load_state_dict(saved[source][0])
            optimizer.load_state_dict(copy.deepcopy(saved[source][1]))
            train(net, optimizer, range(30, 70))
        same(*resumed)
        if source == 0:
            for net, optimizer in runs:
                train(net, optimizer, range(30, 70))
        for run in resumed:
            same(run, runs[1])


def test_the_optimiser_may_be_loaded_before_the_model():
    source, resumed = both(KINDS[3]), both(KINDS[3])
    for (net, optimizer), (saved, state) in zip(resumed, source, strict=True):
        train(saved, state, range(20))
        train(net, optimizer, range(50, 60))
        optimizer.load_state_dict(copy.deepcopy(state.state_dict()))
        net.load_state_dict(copy.deepcopy(saved.state_dict()))
        train(net, optimizer, range(20, 30))
    same(*resumed)


def test_a_copy_of_the_optimiser_is_up_to_date():
    lazy, dense = both(KINDS[3])
    for run in (lazy, dense):
        train(*run, range(9))
    copied = copy.deepcopy(lazy[1])
    weight, twin = (run.param_groups[1]['params'][0] for run in (dense[1], copied))
    torch.testing.assert_close(twin, weight)
    momenta = copied.state[twin]['momentum_buffer'], dense[1].state[weight]['momentum_buffer']
    torch.testing.assert_close(*momenta)


def test_saving_changes_no_bit_of_what_follows():
    """A run that saves at a step, and one that is resumed from there."""
    net, optimizer = both(KINDS[3])[0]
    train(net, optimizer, range(20))
    state = copy.deepcopy((net.state_dict(), optimizer.state_dict()))
    train(net, optimizer, range(20, 40))
    fresh, resumed = both(KINDS[3])[0]
    fresh.load_state_dict(state[0])
    resumed.load_state_dict(state[1])
    train(fresh, resumed, range(20, 40))
    for name, value in net.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[name]), name


def test_steps_without_a_gradient_are_none():
    """PyTorch neither decays nor moves such a parameter."""
    lazy, dense = both(KINDS[3])
    for net, optimizer in (lazy, dense):
        for step in range(30):
            if step % 3 == 2:
                optimizer.zero_grad()
                net.backbone(batch(step, torch.float64)[1]).sum().backward()
                optimizer.step()
            else:
                train(net, optimizer, [step])
    same(lazy, dense)


@pytest.mark.parametrize('kind', KINDS)
def test_dense_and_sparse_gradients_in_turn(kind):
    lazy, dense = both(kind)
    for net, optimizer in (lazy, dense):
        for first in range(0, 60, 10):
            sparse = optimizer is lazy[1] and first % 20 == 0
            train(net, optimizer, range(first, first + 10), sparse=sparse)
    same(lazy, dense)


def test_a_dense_gradient_that_nobody_read_the_rows_for():
    """Of a penalty, say: no forward pass has brought the rows up to date before."""
    lazy, dense = both(KINDS[3])
    for net, optimizer in (lazy, dense):
        train(net, optimizer, range(8))
        optimizer.zero_grad()
        net.classifier.weight.grad = torch.ones_like(net.classifier.weight)
        optimizer.step()
        train(net, optimizer, range(8, 12))
    same(lazy, dense)


def test_momentum_that_is_forgotten_and_turned_on():
    """As at the second stage: all rows up to date, then an empty state."""
    lazy, dense = both(KINDS[3])
    for net, optimizer in (lazy, dense):
        train(net, optimizer, range(20))
        net.classifier.catch_up()
        optimizer.state.clear()
        train(net, optimizer, range(20, 40))
        for momentum in (0.0, 0.8):
            optimizer.param_groups[1]['momentum'] = momentum
            train(net, optimizer, range(40, 60))
    same(lazy, dense)


def test_a_row_that_occurs_twice():
    """Two backward passes before a step concatenate their rows."""
    lazy, dense = both(KINDS[4])
    for net, optimizer in (lazy, dense):
        for step in range(20):
            optimizer.zero_grad()
            for part in (2 * step, 2 * step + 1):
                net.loss(*batch(part, torch.float64), optimizer is lazy[1]).backward()
            optimizer.step()
    same(lazy, dense)


def test_the_norm_of_the_gradients_can_be_clipped():
    lazy, dense = both(KINDS[3])
    norms = []
    for net, optimizer in (lazy, dense):
        wrapper = OptimWrapper(optimizer, clip_grad=dict(max_norm=0.05))
        for step in range(20):
            loss = net.loss(*batch(step, torch.float64), optimizer is lazy[1])
            wrapper.update_params(loss)
        norms.append(wrapper.message_hub.get_scalar('train/grad_norm').current())
    same(lazy, dense)
    assert norms[0] == pytest.approx(norms[1], rel=1e-12)
    assert norms[0] > 0.05


def test_a_closure():
    lazy, dense = both(KINDS[3])
    for net, optimizer in (lazy, dense):

        def closure(net=net, optimizer=optimizer):
            optimizer.zero_grad()
            loss = net.loss(*batch(3, torch.float64), optimizer is lazy[1])
            loss.backward()
            return loss

        losses = [optimizer.step(closure).item() for _ in range(5)]
        assert losses[-1] < losses[0]
    same(lazy, dense)


def test_hooks_around_a_step_are_called_once():
    net, seen = Net(), []
    torch.optim.SGD(net.parameters(), lr=0.1)  # PyTorch wraps the step of every class it has built
    sgd = LazySGD(net.parameters(), lr=0.1)
    sgd.register_step_post_hook(lambda *_: seen.append(1))
    for step in range(2):
        net.loss(*batch(step, torch.float64), sparse=True).backward()
        sgd.step()
    assert seen == [1, 1]


def test_copies_and_pickles_are_up_to_date_and_apart():
    lazy, dense = both(KINDS[3])
    for net, optimizer in (lazy, dense):
        train(net, optimizer, range(9))
    twin = copy.deepcopy(lazy[0])
    thawed = pickle.loads(pickle.dumps(lazy[0]))
    for copied in (twin, thawed):
        torch.testing.assert_close(copied.classifier.weight, dense[0].classifier.weight)
        assert copied.classifier.before_read == []
    held = copy.deepcopy(twin.state_dict())
    train(*lazy, range(9, 20))
    assert all(torch.equal(value, twin.state_dict()[name]) for name, value in held.items())
    train(twin, LazySGD(groups(twin), lr=0.1, **KINDS[3]), range(9, 20))  # one of its own


def test_an_optimiser_that_is_gone_is_not_held():
    net = Net()
    optimizer = LazySGD(groups(net), lr=0.1, momentum=0.9)
    train(net, optimizer, range(3))
    gone = weakref.ref(optimizer)
    del optimizer
    gc.collect()
    assert gone() is None
    net.state_dict()


def test_refuses():
    parameter = nn.Parameter(torch.zeros(3, 2))
    for name in ('dampening', 'maximize'):
        with pytest.raises(BCE3SError, match=f'LazySGD: {name}=1 is not offered'):
            LazySGD([parameter], momentum=0.9, **{name: 1})
    embedding = nn.Embedding(5, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(BCE3SError, match='rows it cannot bring up to date before they are read'):
        LazySGD(embedding.parameters()).step()
