"""Losses are read together, and their history is as if each had been read at once."""

import uuid
from unittest import mock

import pytest
import torch
from mmengine.hooks import Hook, RuntimeInfoHook
from mmengine.model import BaseModel
from torch import nn

from bce3s.engine.deferred_losses import DeferredRuntimeInfoHook
from bce3s.engine.runner import QuietRunner
from bce3s.engine.saving import SafeCheckpointHook


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1, dtype=torch.float64)

    def forward(self, inputs, data_samples=None, mode='loss'):
        loss = self.layer(inputs).pow(2).mean()
        return dict(loss_joint=loss, loss_other=2 * loss)


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 14

    def __getitem__(self, i):
        return dict(inputs=torch.full((1,), float(i), dtype=torch.float64))


class Saves(Hook):
    """How many losses each checkpoint holds."""

    def __init__(self):
        self.lengths = []

    def before_save_checkpoint(self, runner, checkpoint):
        self.lengths.append(len(checkpoint['message_hub']['log_scalars']['train/loss'].data[0]))


def history(tmp_path, hook, interval=3, by_epoch=True, saved=1):
    """The histories that the hub holds when a checkpoint is written, and at the end."""
    torch.manual_seed(0)
    length = dict(max_epochs=2) if by_epoch else dict(max_iters=7)
    runner = QuietRunner(
        model=Model(),
        work_dir=str(tmp_path),
        train_dataloader=dict(
            dataset=Rows(),
            batch_size=2,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(by_epoch=by_epoch, **length),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-3)),
        default_hooks=dict(
            runtime_info=hook,
            logger=dict(type='LoggerHook', interval=interval),
            checkpoint=dict(type='CheckpointHook', interval=saved, by_epoch=by_epoch),
        ),
        custom_hooks=[SafeCheckpointHook(), saves := Saves()],
        log_level='ERROR',
        experiment_name=uuid.uuid4().hex,
    )
    runner.train()
    scalars = runner.message_hub.log_scalars
    return saves.lengths, {k: v.data[0].tolist() for k, v in scalars.items() if 'loss' in k}


@pytest.mark.parametrize(('by_epoch', 'saved'), [(True, 1), (False, 5)])
def test_the_history_is_mmengines(tmp_path, by_epoch, saved):
    options = dict(by_epoch=by_epoch, saved=saved)
    expected = history(tmp_path / 'a', RuntimeInfoHook(), **options)
    lengths, found = history(tmp_path / 'b', DeferredRuntimeInfoHook(), **options)
    assert found == expected[1]  # to the last bit, float64
    assert found.keys() == {'train/loss', 'train/loss_joint', 'train/loss_other'}
    assert lengths == expected[0]  # complete in every checkpoint


def test_losses_are_read_when_they_are_logged(tmp_path):
    hook = DeferredRuntimeInfoHook()
    reads = []
    real = torch.Tensor.tolist
    with mock.patch.object(torch.Tensor, 'tolist', lambda t: reads.append(len(t)) or real(t)):
        history(tmp_path, hook, interval=3)
    # three losses; of 7 iterations an epoch: at 3, at 6, at the end; 14: the order of samples
    assert [n for n in reads if n not in (1, 14)] == [9, 9, 3] * 2
    assert not hook._unread
