"""The section ``head``: what is measured is a real step, and the plain one computes the same."""

import pytest
import torch

from bce3s.models.targets import Targets
from bce3s.randomness import Clock
from benchmarks import head
from benchmarks.timing import Options

SIZES = dict(batch=4, dim=16)


def test_quick_section():
    (table,) = head.run(Options(quick=True, seconds=0.01))
    assert [row['way'] for row in table.rows] == ['r = 1.0', 'r = 0.1', 'reference implementation']
    assert all(row['ms'] > 0 for row in table.rows)


@pytest.mark.parametrize('rate', [1.0, 0.2])
def test_a_step_trains(rate):
    step = head.Step(50, rate, **SIZES)
    before = {name: value.clone() for name, value in step.head.named_parameters()}
    for _ in range(2):
        step()
    if rate < 1:
        step.head.classifier.catch_up()
    for name, value in step.head.named_parameters():
        assert not torch.equal(value, before[name]), name
    assert step.head.bank.filled.any()
    assert all(value.grad is None for value in step.head.parameters())


def test_the_plain_step_has_our_losses():
    ours = head.Step(12, 1.0, **SIZES)
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
