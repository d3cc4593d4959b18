"""The section ``head``: what is measured is a real step, and the plain one computes the same."""

import numpy as np
import pytest
import torch

from bce3s.models.targets import Targets
from bce3s.randomness import Clock
from benchmarks import head
from benchmarks.timing import Options

SIZES = dict(batch=4, dim=16)


def test_quick_section():
    growth, plain = head.run(Options(quick=True, seconds=0.01))
    pairs = [pair for group in head.QUICK.values() for pair in group]
    assert [(row['K'], row['r']) for row in growth.rows] == pairs
    assert all(row['ms'] > 0 and row['% of ceiling'] > 0 for row in growth.rows)
    assert [row['over r = 1'] for row in growth.rows if row['r'] == 1] == [1.0] * 3
    assert {row['S'] for row in growth.rows} == set(head.QUICK)
    assert [row['K'] for row in plain.rows] == [20, 40]
    assert all(row['plain / r = 1'] > 0 for row in plain.rows)
    assert 'Growth in S' in growth.notes[0]
    growth.text(), plain.text()


def test_the_target_is_measured():
    pairs = [pair for group in head.GROUPS.values() for pair in group]
    assert set(head.TARGET[:2]) <= set(pairs)
    table = head._target({head.TARGET[0]: 0.2, head.TARGET[1]: 0.1})
    assert table.rows[0]['ratio'] == 2.0
    assert all(int(k * r) == sampled for sampled, group in head.GROUPS.items() for k, r in group)


@pytest.mark.parametrize(('rate', 'views'), [(1.0, 1), (1.0, 3), (0.2, 1), (0.2, 3)])
def test_a_step_trains(rate, views):
    step = head.Step(50, rate, **SIZES, views=views)
    before = {name: value.clone() for name, value in step.head.named_parameters()}
    for _ in range(2):
        step()
    if rate < 1:
        step.head.classifier.catch_up()
    for name, value in step.head.named_parameters():
        assert not torch.equal(value, before[name]), name
    assert step.head.bank.filled.any()
    assert all(value.grad is None for value in step.head.parameters())


def test_without_uniformity_the_branch_comes_back():
    step = head.Step(10, 1.0, **SIZES)
    step.without_uniformity()
    assert 'loss_uniformity' in step.head.loss(step.features, step.targets())


def test_operations_are_counted():
    """Against PyTorch's own counter of matrix products."""
    from torch.utils.flop_counter import FlopCounterMode

    for rate, views in ((1.0, 1), (1.0, 3), (0.5, 1)):
        step = head.Step(40, rate, **SIZES, views=views)
        step()
        with FlopCounterMode(display=False) as counter:
            step()
        in_place = 2 * step.sampled**2 * step.dim  # of the uniformity, which it does not see
        assert counter.get_total_flops() + in_place == pytest.approx(step.flops, rel=0.01)


def test_the_plain_step_has_our_losses():
    ours = head.Step(12, 1.0, **SIZES, views=3)
    plain = head.PlainStep(12, **SIZES, device='cpu')
    for name in ('weight', 'bias'):
        theirs = getattr(plain.model.classifier, name)
        theirs.data.copy_(getattr(ours.head.classifier, name).data)
    plain.model.projector.load_state_dict(ours.head.projector.state_dict())
    bank = torch.randn(12, head.PROJECTION)
    for memory, filled in (
        (plain.model.bank, plain.model.filled),
        (ours.head.bank.features, ours.head.bank.filled),
    ):
        memory.copy_(bank)
        filled[:8] = True
    targets = ours.targets()
    expected = ours.head.loss(ours.features, targets)
    found = plain.model.losses(
        ours.features, targets.labels, targets.partners, lams=targets.lam.tolist()
    )
    for name, value in found.items():
        torch.testing.assert_close(value, expected[f'loss_{name}'], rtol=1e-5, atol=1e-6)


def test_labels_differ_from_step_to_step():
    step = head.Step(1000, 1.0, **SIZES)
    first, second = step.targets(), step.targets()
    assert isinstance(first, Targets)
    assert not torch.equal(first.labels, second.labels)
    assert (first.clock, second.clock) == (Clock(step=1), Clock(step=2))


def test_what_does_not_fit_is_left_out(monkeypatch):
    assert head._lack(1000, 'cpu', 0) is None
    monkeypatch.setattr(head, '_available', lambda: 2**30)
    assert '4.3 GiB' in head._lack(1_000_000, 'cpu', 0)
    assert head._lack(100_000, 'cpu', 0) is None
    assert head._lack(100_000, 'cpu', 100_000) is not None


# ------------------------------------------------------------ growth
@pytest.mark.parametrize('power', [0, 1, 2, 1.5])
def test_the_exponent_of_a_power_is_found(power):
    sizes = [3, 10, 40, 90]
    assert head.exponent(sizes, [7e-3 * s**power for s in sizes]) == pytest.approx(power)


def test_the_exponent_is_that_of_the_larger_sizes():
    sizes = [1, 10, 100, 1000, 10_000]
    seconds = [1 + 1e-3 * s**2 for s in sizes]  # a constant, then a square
    assert head.exponent(sizes, seconds) == pytest.approx(2, abs=0.05)
    assert head.exponent(sizes[::-1], seconds[::-1]) == pytest.approx(2, abs=0.05)


def test_the_exponent_bears_noise():
    rng = np.random.default_rng(0)
    sizes = [100, 200, 400, 800]
    fits = [
        head.exponent(sizes, [s * np.exp(0.05 * rng.normal()) for s in sizes]) for _ in range(50)
    ]
    assert np.mean(fits) == pytest.approx(1, abs=0.05)
