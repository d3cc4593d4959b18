"""A loss that is not finite ends the run with a sentence and saves nothing."""

import uuid
from unittest import mock

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn
from toy_runs import Net, equal, run, state

from bce3s.engine.non_finite import NonFiniteLossHook, StepGuard
from bce3s.engine.saving import SafeCheckpointHook
from bce3s.errors import BCE3SError


class Diverging(BaseModel):
    """Step ``at`` (from 0) has a contrastive term of ``value``; or spoils its weights before it."""

    def __init__(self, at, value=float('nan'), spoil=False):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.at, self.value, self.spoil, self.steps = at, value, spoil, 0

    def forward(self, inputs, data_samples=None, mode='loss'):
        joint = self.layer(inputs).pow(2).mean()
        contrastive = joint.detach() * 0 + (self.value if self.steps == self.at else 0.5)
        self.steps += 1
        if self.spoil and self.steps == self.at:
            with torch.no_grad():
                self.layer.weight.fill_(float('inf'))
        return dict(loss_joint=joint, loss_contrastive=contrastive)


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, i):
        sample = dict(labels=torch.tensor(i % 3), indices=torch.tensor(i))
        return dict(inputs=torch.ones(1), data_samples=sample)


def train(work_dir, model, interval=1, batch_size=2, max_iters=None, saved=1):
    by_epoch = max_iters is None
    length = dict(max_epochs=2) if by_epoch else dict(max_iters=max_iters)
    Runner(
        model=model,
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=Rows(),
            batch_size=batch_size,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(by_epoch=by_epoch, **length),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.25)),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', interval=saved, by_epoch=by_epoch)
        ),
        custom_hooks=[SafeCheckpointHook(), NonFiniteLossHook(interval)],
        log_level='ERROR',
        experiment_name=uuid.uuid4().hex,
    ).train()


def test_a_finite_run_goes_through(tmp_path):
    train(tmp_path, Diverging(at=99))
    assert (tmp_path / 'epoch_2.pth').exists()


@pytest.mark.parametrize('value', [float('nan'), float('inf'), float('-inf')])
def test_the_sentence_names_everything(tmp_path, value):
    with pytest.raises(BCE3SError) as info:
        train(tmp_path, Diverging(at=5, value=value))
    text = str(info.value)
    assert 'epoch 2, iteration 6' in text
    assert f'loss_contrastive = {value}' in text
    assert 'finite: loss_joint' in text
    assert 'lr 0.25' in text
    assert 'samples 2, 3' in text
    assert 'classes 0, 2' in text
    assert str(tmp_path / 'epoch_1.pth') in text
    assert '--resume' in text
    assert [p.name for p in tmp_path.glob('*.pth')] == ['epoch_1.pth']


@pytest.mark.parametrize(('at', 'iteration'), [(0, 1), (2, 3), (3, 4)])
def test_with_an_interval_the_first_bad_iteration_is_named_and_none_escapes(
    tmp_path, at, iteration
):
    with pytest.raises(BCE3SError, match=rf'epoch 1, iteration {iteration}: .*No checkpoint'):
        train(tmp_path, Diverging(at=at), interval=3)
    assert not list(tmp_path.glob('*.pth'))


def test_long_batches_are_shortened(tmp_path):
    with pytest.raises(BCE3SError, match=r'samples 0, 1, 2, 3, 4, 5, 6, 7;') as info:
        train(tmp_path, Diverging(at=0), batch_size=8)
    assert '...' not in str(info.value)


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    """Spoilt by the last step of the epoch, after its loss was computed."""
    with pytest.raises(BCE3SError, match=r'layer\.weight is not finite after iteration 4'):
        train(tmp_path, Diverging(at=4, value=0.5, spoil=True))
    assert not list(tmp_path.glob('*.pth'))


def test_one_host_read_an_interval(monkeypatch):
    """Counts ``tolist``, the hook's only way to the host, over 6 iterations with interval 3."""
    reads = []
    real = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, 'tolist', lambda t: reads.append(1) or real(t))
    monkeypatch.setattr(torch.Tensor, 'item', lambda _: pytest.fail('a host read'))
    hook = NonFiniteLossHook(3)

    class Run:
        iter = 0
        train_dataloader = range(100)

    for i in range(6):
        hook.after_train_iter(Run, i, {}, dict(loss=torch.tensor(1.0)))
    assert len(reads) == 2


def test_interval_below_one():
    with pytest.raises(BCE3SError, match='interval is 0'):
        NonFiniteLossHook(0)


def test_a_loss_that_was_not_read_yet_is_read_before_anything_is_saved(tmp_path):
    """The interval is longer than the run, and no epoch ends."""
    for max_iters, saved in ((3, 1), (3, 100)):
        folder = tmp_path / str(saved)
        with pytest.raises(BCE3SError, match='iteration 3'):
            train(folder, Diverging(at=2), interval=50, max_iters=max_iters, saved=saved)
        assert not (folder / 'iter_3.pth').exists()


def test_a_checkpoint_that_was_refused_is_not_called_a_good_one(tmp_path):
    with pytest.raises(BCE3SError, match='No checkpoint was written yet'):
        train(tmp_path, Diverging(at=4, spoil=True), interval=50)


# ------------------------------------------------------------ left out, if told so
class Before(Hook):
    """The state before each step, and after it."""

    def __init__(self):
        self.before, self.after = [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.before.append({k: v.clone() for k, v in state(runner).items()})

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.after.append({k: v.clone() for k, v in state(runner).items()})


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_step_is_left_out_to_the_last_bit(tmp_path, value):
    """Weights, momentum, BatchNorm's statistics and the bank are those of before the batch."""
    net = Net(bad=lambda step: value if step in (4, 9, 10) else 0.0)
    hooks = [NonFiniteLossHook(action='skip'), noted := Before()]
    runner = run(tmp_path, model=net, hooks=hooks, saving=dict(interval_iters=1, max_keep_ckpts=-1))
    runner.train()
    for step, (before, after) in enumerate(zip(noted.before, noted.after, strict=True)):
        assert equal(before, after) == (step in (4, 9, 10)), step
    info = runner.message_hub.runtime_info
    assert (info['skipped_steps'], info['skipped_steps_in_a_row']) == (3, 0)
    losses = runner.message_hub.get_scalar('train/loss').data[0]
    assert len(losses) == 15
    assert all(loss - loss == 0 for loss in losses)
    # and the count goes on after a resume, in the middle of a row
    net = Net(bad=lambda step: value if step == 0 else 0.0)
    resumed = run(
        tmp_path,
        model=net,
        hooks=[NonFiniteLossHook(action='skip')],
        resume=tmp_path / 'iter_10.pth',
    )
    resumed.train()
    assert resumed.message_hub.runtime_info['skipped_steps'] == 3
    assert equal(state(runner), state(resumed))


def test_a_gradient_that_is_not_finite_is_left_out_too(tmp_path):
    class Steep(Net):
        def forward(self, inputs, data_samples=None, mode='loss'):
            losses = super().forward(inputs, data_samples, mode)
            if self.steps == 3:  # sqrt has no slope at 0
                losses['loss_b'] = ((self.body[0].weight * 0).sum()).sqrt()
            return losses

    hooks = [NonFiniteLossHook(action='skip'), noted := Before()]
    runner = run(tmp_path, epochs=1, model=Steep(), hooks=hooks)
    with mock.patch.object(runner.logger, 'warning') as said:
        runner.train()
    assert equal(noted.before[2], noted.after[2])
    assert not equal(noted.before[3], noted.after[3])
    (text,) = [call.args[0] for call in said.call_args_list if 'left out' in call.args[0]]
    assert text.startswith('Step left out (1 so far): A gradient')
    assert 'epoch 1, iteration 3' in text
    assert 'classes 0, 1, 2' in text


def test_patience_ends(tmp_path):
    net = Net(bad=lambda step: float('nan') if step >= 3 else 0.0)
    with pytest.raises(BCE3SError, match=r'7 steps in a row .*epoch 2, iteration 10.*iter_9\.pth'):
        run(
            tmp_path,
            model=net,
            hooks=[NonFiniteLossHook(action='skip', patience=7)],
            saving=dict(interval_iters=3),
        ).train()


def test_no_cost_while_it_only_stops(tmp_path):
    runner = run(tmp_path, hooks=[NonFiniteLossHook(50)])
    runner.train()
    assert 'step' not in vars(runner.optim_wrapper)  # not wrapped


def test_an_action_that_is_none():
    with pytest.raises(BCE3SError, match="action is 'ignore'; use 'stop' or 'skip'"):
        NonFiniteLossHook(action='ignore')


@pytest.mark.parametrize('scale', ['dynamic', 64.0])
def test_a_step_left_out_lowers_the_scale_of_fp16_as_its_scaler_does(scale):
    """MMEngine's wrapper for fp16 wants a GPU; this one scales by the scaler of a CPU."""
    weight = torch.nn.Linear(2, 1)
    wrapper = OptimWrapper(torch.optim.SGD(weight.parameters(), lr=0.1))
    fixed = None if scale == 'dynamic' else scale
    wrapper.loss_scaler = torch.amp.GradScaler('cpu', init_scale=64.0, growth_interval=2)
    wrapper._scale_update_param = fixed

    def step(**kwargs):
        wrapper.loss_scaler.step(wrapper.optimizer, **kwargs)
        wrapper.loss_scaler.update(fixed)

    wrapper.step, wrapper.backward = step, lambda loss: wrapper.loss_scaler.scale(loss).backward()
    guard, scales = StepGuard(wrapper, weight), []
    before = weight.weight.detach().clone()
    for value in (1.0, float('inf'), 1.0, 1.0, float('nan')):
        guard.remember()
        wrapper.update_params(weight(torch.full((1, 2), value)).sum())
        assert guard.skipped == (value != 1)
        scales.append(wrapper.loss_scaler.get_scale())
    # the growth of two good steps in a row begins anew after one that was left out
    assert scales == ([64, 32, 32, 64, 32] if fixed is None else [64] * 5)
    torch.testing.assert_close(weight.weight.detach(), before - 3 * 0.1)
