"""The learning rate of every epoch, when the second stage begins, and the bound on the norms.

Hooks are called by hand, on a runner that has nothing but what they look at.
"""

from __future__ import annotations

import logging
import math
from types import SimpleNamespace

import oracles
import pytest
import torch
from torch import nn

from bce3s.engine import schedule
from bce3s.engine.lazy_sgd import LazySGD
from bce3s.engine.max_norm import MaxNormHook
from bce3s.engine.schedule import CosineLRHook, StepLRHook, cosine_factor
from bce3s.errors import BCE3SError
from bce3s.models.linear_classifier import LinearClassifier


class Model(nn.Module):
    """Only what the hooks touch."""

    def __init__(self, normalize=True):
        super().__init__()
        self.head = nn.Module()
        self.head.classifier = LinearClassifier(3, 4, True, normalize)
        self.head.sample_rate = 1.0
        self.finetuning, self.entered = False, []

    def finetune_classifier(self, freeze_norm):
        self.finetuning = True
        self.entered.append(freeze_norm)


class TwoStageHook(schedule.TwoStageHook):
    """In a run that has ``train_cfg.finetune_epochs=second``."""

    def __init__(self, second, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.second = second

    def before_train(self, runner):
        runner.train_loop.finetune_epochs = self.second
        super().before_train(runner)


def make_runner(max_epochs, lrs=(0.1, 0.01), epoch=0, load_from=None, **kwargs):
    model = Model(**kwargs)
    weight, bias = model.parameters()
    groups = [dict(params=[p], lr=lr) for p, lr in zip((weight, bias), lrs, strict=True)]
    sgd = torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=5e-3)
    return SimpleNamespace(
        model=model,
        max_epochs=max_epochs,
        epoch=epoch,
        param_schedulers=[],
        train_dataloader=range(3),  # steps of an epoch
        train_loop=SimpleNamespace(finetune_epochs=0, batches_done=0),
        optim_wrapper=SimpleNamespace(optimizer=sgd),
        logger=logging.getLogger('test'),
        message_hub=SimpleNamespace(log_scalars={}),
        _load_from=load_from,
    )


def steps(hook, runner):
    """The rate of the first group in each step."""
    hook.before_train(runner)
    for epoch in range(runner.epoch, runner.max_epochs):
        runner.epoch = epoch
        hook.before_train_epoch(runner)
        for batch in range(3):
            hook.before_train_iter(runner, batch, {})
            yield runner.optim_wrapper.optimizer.param_groups[0]['lr']


def rates(hook, runner):
    hook.before_train(runner)
    for epoch in range(runner.epoch, runner.max_epochs):
        runner.epoch = epoch
        hook.before_train_epoch(runner)
        yield [group['lr'] for group in runner.optim_wrapper.optimizer.param_groups]


@pytest.mark.parametrize('epochs', [1, 2, 10, 320])
def test_the_published_cosine(epochs):
    for epoch in range(epochs):
        expected = oracles.cosine_lr(1.0, epoch, epochs)
        assert cosine_factor(epoch, epochs, 1) == pytest.approx(expected, abs=1e-15)
    assert cosine_factor(epochs - 1, epochs, 1) == 0


def test_the_cosine_that_starts_at_the_full_rate():
    assert cosine_factor(0, 10, 0) == 1
    assert cosine_factor(5, 10, 0) == pytest.approx(0.5)
    assert cosine_factor(9, 10, 0) == pytest.approx((1 + math.cos(0.9 * math.pi)) / 2)


@pytest.mark.parametrize(
    ('epochs', 'firsts'), [(100, (40, 80)), (10, (4, 8)), (5, (2, 4)), (7, (3, 6)), (1, (1, 1))]
)
def test_steps_at_shares_of_the_run(epochs, firsts):
    for epoch, (lr, _) in enumerate(rates(StepLRHook(), make_runner(epochs))):
        expected = 0.1 * 0.1 ** sum(epoch >= first for first in firsts)
        assert lr == pytest.approx(expected, rel=1e-12)
    assert epoch == epochs - 1


@pytest.mark.parametrize(
    ('share', 'epochs', 'first'), [(0.28, 25, 7), (0.7, 10, 7), (0.5, 5, 3), (0.5, 7, 4)]
)
def test_a_milestone_within_an_epoch_is_past_from_the_next_on(share, epochs, first):
    """Also where the product of share and epochs is a little more than whole: 0.28 x 25."""
    found = [lr for lr, _ in rates(StepLRHook((share,)), make_runner(epochs))]
    assert found == pytest.approx([0.1] * first + [0.01] * (epochs - first))


def test_a_resumed_run_steps_where_it_would_have():
    """Nothing is stored but the optimiser's groups, with the rate of the epoch before."""
    hook, whole = StepLRHook((0.25, 0.5, 0.75), gamma=0.5), make_runner(8)
    expected = [lr for lr, _ in rates(hook, whole)]
    assert expected == [0.1, 0.1, 0.05, 0.05, 0.025, 0.025, 0.0125, 0.0125]
    resumed = make_runner(8, epoch=3)
    resumed.optim_wrapper.optimizer.load_state_dict(whole.optim_wrapper.optimizer.state_dict())
    assert [lr for lr, _ in rates(StepLRHook((0.25, 0.5, 0.75), gamma=0.5), resumed)] == expected[
        3:
    ]


@pytest.mark.parametrize(
    'options',
    [
        dict(milestones=(40, 80)),
        dict(milestones=(0.8, 0.4)),
        dict(milestones=(0, 0.5)),
        dict(milestones=(0.5, 1)),
        dict(gamma=0),
        dict(gamma=10),
    ],
)
def test_steps_that_are_none(options):
    with pytest.raises(BCE3SError, match='milestones are shares of the run'):
        StepLRHook(**options)


def test_every_group_keeps_its_own_rate():
    for epoch, lrs in enumerate(rates(CosineLRHook(shift=1), make_runner(20))):
        assert lrs == pytest.approx([oracles.cosine_lr(lr, epoch, 20) for lr in (0.1, 0.01)])


def test_the_rate_of_a_resumed_run_is_that_of_the_epoch():
    runner = make_runner(20)
    expected = list(rates(CosineLRHook(shift=1), runner))
    saved = runner.optim_wrapper.optimizer.state_dict()
    resumed = make_runner(20, epoch=7)
    saved['param_groups'] = [g | dict(lr=123.0) for g in saved['param_groups']]
    resumed.optim_wrapper.optimizer.load_state_dict(saved)
    assert list(rates(CosineLRHook(shift=1), resumed)) == expected[7:]


# ---------------------------------------------------------------------------------------- warm-up


@pytest.mark.parametrize('hook', [CosineLRHook(0, 2), StepLRHook((0.5,), warmup_epochs=2)])
def test_the_rate_rises_with_every_step_then_the_schedule_has_the_rest(hook):
    found = list(steps(hook, make_runner(6)))
    assert found[:6] == pytest.approx([0.1 * (t + 1) / 6 for t in range(6)])
    for epoch in range(4):  # a schedule of its own, of 4 epochs
        assert found[6 + 3 * epoch : 9 + 3 * epoch] == [0.1 * hook.factor(epoch, 4)] * 3
    assert hook.factor(0, 4) == 1


def test_a_warm_up_resumed_within_an_epoch():
    expected, resumed = list(steps(CosineLRHook(0, 2), make_runner(4))), make_runner(4, epoch=1)
    hook = CosineLRHook(0, 2)
    resumed.optim_wrapper.optimizer.param_groups[0].update(lr=123.0, initial_lr=0.1)
    hook.before_train(resumed)
    hook.before_train_epoch(resumed)
    hook.before_train_iter(resumed, 2, {})
    assert resumed.optim_wrapper.optimizer.param_groups[0]['lr'] == expected[3 + 2]


def test_the_warm_up_of_two_stages_is_the_firsts():
    found = list(steps(TwoStageHook(2, lr=0.02, warmup_epochs=1), make_runner(5)))
    assert found[:3] == pytest.approx([0.1 / 3, 0.2 / 3, 0.1])
    assert found[3:9] == pytest.approx([0.1] * 3 + [0.05] * 3)
    assert found[9:] == pytest.approx([0.02] * 3 + [0.01] * 3)
    alone = make_runner(2, load_from='epoch_320.pth')  # the second stage only: no warm-up
    assert next(steps(TwoStageHook(2, 0.02, warmup_epochs=1), alone)) == 0.02


@pytest.mark.parametrize('warmup', [-1, 4, 5])
def test_a_warm_up_that_does_not_fit(warmup):
    with pytest.raises(BCE3SError, match='0 <= warmup_epochs < epochs'):
        CosineLRHook(warmup_epochs=warmup).before_train(make_runner(4))
    with pytest.raises(BCE3SError, match='TwoStageHook: warmup_epochs'):
        TwoStageHook(2, warmup_epochs=warmup).before_train(make_runner(6))


def test_a_second_stage_is_not_left_out_in_silence():
    runner = make_runner(5)
    runner.train_loop.finetune_epochs = 2
    with pytest.raises(
        BCE3SError, match='length of a second stage, which CosineLRHook does not have'
    ):
        CosineLRHook().before_train(runner)


def test_two_schedules_are_refused():
    runner = make_runner(5)
    runner.param_schedulers = [object()]
    for hook in (CosineLRHook(), TwoStageHook(2)):
        name = type(hook).__name__
        with pytest.raises(BCE3SError, match=f'{name} and param_scheduler both set'):
            hook.before_train(runner)


@pytest.mark.parametrize('freeze_norm', [True, False])
def test_two_stages(freeze_norm):
    runner = make_runner(12)
    hook = TwoStageHook(4, lr=0.02, weight_decay=1e-4, freeze_norm=freeze_norm, shift=1)
    optimizer, model = runner.optim_wrapper.optimizer, runner.model
    for epoch, lrs in enumerate(rates(hook, runner)):
        decays = {group['weight_decay'] for group in optimizer.param_groups}
        assert model.entered == ([freeze_norm] if epoch >= 8 else [])
        if epoch < 8:  # a cosine of 8 epochs
            assert lrs == pytest.approx([oracles.cosine_lr(lr, epoch, 8) for lr in (0.1, 0.01)])
            assert decays == {5e-3}
        else:  # and one of 4; the second group keeps its tenth
            rate = oracles.cosine_lr(0.02, epoch - 8, 4)
            assert lrs == pytest.approx([rate, rate / 10])
            assert decays == {1e-4}
        if epoch in (8, 9):  # a fresh optimiser at the start of the stage, not later
            assert bool(optimizer.state) == (epoch != 8)
        model.head.classifier(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        assert optimizer.state


def test_rows_get_what_they_are_owed_before_momentum_is_forgotten(monkeypatch):
    runner, momenta = make_runner(12, epoch=8), []
    sgd = LazySGD(runner.model.parameters(), lr=0.1, momentum=0.9)
    sgd.state['a row'] = dict(momentum_buffer=1)
    runner.optim_wrapper.optimizer = sgd
    monkeypatch.setattr(sgd, 'flush', lambda: momenta.append(len(sgd.state)))
    hook = TwoStageHook(4, lr=0.02)
    hook.before_train(runner)
    hook.before_train_epoch(runner)
    assert (momenta, len(sgd.state)) == ([1], 0)


def test_a_run_resumed_in_the_second_stage_enters_it_and_keeps_momentum():
    runner = make_runner(12, epoch=9)
    runner.model.head.classifier(torch.ones(1, 3)).sum().backward()
    runner.optim_wrapper.optimizer.step()
    hook = TwoStageHook(4, lr=0.02, shift=1)
    lrs = list(rates(hook, runner))
    assert runner.model.entered == [True]
    assert runner.optim_wrapper.optimizer.state
    assert lrs[0][0] == pytest.approx(oracles.cosine_lr(0.02, 1, 4))


def test_the_second_stage_alone():
    with pytest.raises(BCE3SError, match='load_from=PATH'):
        TwoStageHook(4).before_train(make_runner(4))
    runner = make_runner(4, load_from='epoch_320.pth')
    lrs = list(rates(TwoStageHook(4, lr=1.0, shift=1), runner))
    assert [a for a, _ in lrs] == pytest.approx([oracles.cosine_lr(1, e, 4) for e in range(4)])
    TwoStageHook(4).before_train(make_runner(4, epoch=2))  # resumed: it has its weights


def test_one_epoch_a_stage_trains_at_the_full_rate(caplog):
    assert [lr for lr, _ in rates(TwoStageHook(1, lr=0.02), make_runner(2))] == [0.1, 0.02]
    assert [lr for lr, _ in rates(CosineLRHook(), make_runner(1))] == [0.1]
    assert not caplog.records


@pytest.mark.parametrize(
    ('hook', 'epochs', 'stages'),
    [
        (CosineLRHook(shift=1), 1, ['run']),
        (CosineLRHook(shift=1), 2, []),
        (CosineLRHook(shift=1, warmup_epochs=1), 2, []),  # which trains
        (TwoStageHook(1, shift=1), 2, ['first stage', 'second stage']),
        (TwoStageHook(1, shift=1), 5, ['second stage']),
        (TwoStageHook(4, shift=1), 5, ['first stage']),
        (TwoStageHook(2, shift=1), 2, []),
    ],
)
def test_a_stage_at_rate_0_is_told(hook, epochs, stages, caplog):
    trained = [lr for lr, _ in rates(hook, make_runner(epochs, load_from='epoch_320.pth'))]
    assert any(trained) == (len(stages) < (2 if isinstance(hook, TwoStageHook) else 1))
    said = [record.getMessage() for record in caplog.records if record.levelname == 'WARNING']
    assert len(said) == len(stages)
    for sentence, stage in zip(said, stages, strict=True):
        assert f'the learning rate is 0 throughout the {stage}, which trains nothing' in sentence


@pytest.mark.parametrize('finetune_epochs', [-1, 13])
def test_stages_that_do_not_fit(finetune_epochs):
    with pytest.raises(BCE3SError, match='0 <= finetune_epochs <= max_epochs'):
        TwoStageHook(finetune_epochs).before_train(make_runner(12))


def test_a_sampler_of_somebody_else_is_not_replaced():
    runner = make_runner(4, epoch=2)
    theirs = torch.utils.data.RandomSampler(range(10))
    runner.train_dataloader = SimpleNamespace(batch_sampler=SimpleNamespace(sampler=theirs))
    sampler = dict(type='PowerSampler', q=1)
    with pytest.raises(BCE3SError, match='not of RandomSampler: set train_dataloader'):
        TwoStageHook(2, sampler=sampler).before_train(runner)
    TwoStageHook(0, sampler=sampler).before_train(runner)  # there is no second stage


def test_a_new_classifier_is_a_function_of_the_seed():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    classifiers = [LinearClassifier(50, 40) for _ in range(3)]
    torch.manual_seed(7)
    for classifier, seed in zip(classifiers, (0, 0, 1), strict=True):
        schedule._renew(classifier, seed)
    assert torch.equal(torch.rand(3), expected)  # the draws of the run are not touched
    same, other = (classifiers[i].state_dict() for i in (1, 2))
    for name, value in classifiers[0].state_dict().items():
        assert torch.equal(value, same[name])
        assert not torch.isclose(value, other[name]).any()
    assert classifiers[0].weight.std().item() == pytest.approx(50**-0.5, rel=0.1)


# ---------------------------------------------------------------------------------------- MaxNorm


def test_long_weights_are_shortened_and_short_ones_left():
    runner = make_runner(1, normalize=False)
    weight = runner.model.head.classifier.weight
    rows = torch.tensor([[3.0, 4, 0], [0.3, 0.4, 0], [0, 0, 0], [0, 0, 1]])
    with torch.no_grad():
        weight.copy_(rows)
    hook = MaxNormHook(1.0)
    hook.before_train(runner)
    hook.after_train_iter(runner, 0, {}, {})
    expected = torch.tensor([[0.6, 0.8, 0], [0.3, 0.4, 0], [0, 0, 0], [0, 0, 1]])
    torch.testing.assert_close(weight.detach(), expected)


def test_max_norm_in_the_second_stage_only():
    runner = make_runner(1, normalize=False)
    weight = runner.model.head.classifier.weight
    hook = MaxNormHook(1e-3, finetuning_only=True)
    hook.after_train_iter(runner, 0, {}, {})
    assert weight.norm(dim=1).max() > 1e-3
    runner.model.finetuning = True
    hook.after_train_iter(runner, 0, {}, {})
    assert weight.norm(dim=1).max().item() == pytest.approx(1e-3)


def test_max_norm_refuses_what_has_no_effect():
    runner = make_runner(1, normalize=True)
    with pytest.raises(BCE3SError, match='normalises its weights'):
        MaxNormHook(1.0).before_train(runner)
    MaxNormHook(1.0, allow_normalized=True).before_train(runner)
    x = torch.randn(2, 3)
    before = runner.model.head.classifier(x)
    MaxNormHook(1e-3, allow_normalized=True).after_train_iter(runner, 0, {}, {})
    torch.testing.assert_close(runner.model.head.classifier(x), before)  # the quirk: no effect
    for bad in (0, -1, float('nan')):
        with pytest.raises(BCE3SError, match='max_norm must be positive'):
            MaxNormHook(bad)
    for bad in (-0.1, 1.1, float('nan')):
        with pytest.raises(BCE3SError, match=r'threshold must be in \[0, 1\]'):
            MaxNormHook(threshold=bad)
    for both in (dict(), dict(max_norm=1.0, threshold=0.1)):
        with pytest.raises(BCE3SError, match='max_norm or threshold: give one'):
            MaxNormHook(**both)


def second_stage(epoch, batches_done=0):
    runner = make_runner(4, epoch=epoch, normalize=False)
    runner.train_loop = SimpleNamespace(finetune_epochs=2, batches_done=batches_done)
    runner.model.finetuning = epoch >= 2
    with torch.no_grad():
        weight = torch.tensor([[3.0, 4, 0], [0.3, 0.4, 0], [0, 0, 1.5], [0, 0, 1]])
        runner.model.head.classifier.weight.copy_(weight)
    return runner


def test_a_radius_that_follows_from_the_norms_at_the_beginning_of_the_second_stage():
    """0.5 + 0.1 (5 - 0.5) = 0.95; it stays, also through a stop within the stage."""
    hook = MaxNormHook(threshold=0.1)
    for epoch in (0, 1):
        runner = second_stage(epoch)
        hook.before_train_epoch(runner)
        hook.after_train_iter(runner, 0, {}, {})
        assert runner.model.head.classifier.weight[0].norm() == 5
    runner = second_stage(2)
    hook.before_train_epoch(runner)
    hook.after_train_iter(runner, 0, {}, {})
    norms = runner.model.head.classifier.weight.norm(dim=1)
    assert norms.tolist() == pytest.approx([0.95, 0.5, 0.95, 0.95])
    checkpoint = dict(meta={})
    hook.before_save_checkpoint(runner, checkpoint)
    for epoch, batches_done in ((2, 1), (3, 0)):
        resumed = MaxNormHook(threshold=0.1)
        resumed.after_load_checkpoint(runner, checkpoint)
        resumed.before_train_epoch(second_stage(epoch, batches_done))
        assert resumed.max_norm == pytest.approx(0.95)
    # a checkpoint of such a run that another one begins with
    again = MaxNormHook(threshold=0.5)
    again.after_load_checkpoint(runner, checkpoint)
    again.before_train_epoch(second_stage(2))
    assert again.max_norm == pytest.approx(2.75)


@pytest.mark.parametrize('stage', [1, 2])
def test_a_checkpoint_says_of_which_stage_it_is(stage):
    """One of the second stage does not go on in what is the first of a longer run."""
    runner, checkpoint = make_runner(4, epoch=2), dict(meta={})
    runner.model.finetuning = stage == 2
    TwoStageHook(2).before_save_checkpoint(runner, checkpoint)
    assert checkpoint['meta']['stage'] == stage
    hook, longer = TwoStageHook(2), make_runner(12, epoch=2)
    hook.after_load_checkpoint(longer, checkpoint)
    if stage == 1:
        hook.before_train(longer)
        return
    with pytest.raises(BCE3SError, match='The checkpoint is of the second stage, but epoch 3'):
        hook.before_train(longer)
