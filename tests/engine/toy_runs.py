"""A model and runs that take milliseconds, with what a real one has: BatchNorm, a bank-like buffer,
momentum, samplers of this project.
"""

import uuid

import torch
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from torch import nn

from bce3s.engine.checkpoint import CheckpointGuardHook, ResumedValidationHook
from bce3s.engine.runner import QuietRunner
from bce3s.engine.saving import RunCheckpointHook, SafeCheckpointHook
from bce3s.samplers import NaturalSampler, PairedBatchSampler

N = 22  # samples; batches of 4: 4, 4, 4, 4, 4, 2


class Rows(torch.utils.data.Dataset):
    labels = torch.arange(N) % 3
    metainfo = dict(classes=list('abc'), class_counts=[8, 7, 7])

    def __len__(self):
        return N

    def __getitem__(self, i):
        x = torch.tensor([i / N, (i % 5) / 5, 1.0])
        return dict(inputs=x, data_samples=dict(labels=self.labels[i], indices=torch.tensor(i)))


class Net(BaseModel):
    """``bad(step)`` gives what is added to the loss of a step (from 0)."""

    def __init__(self, bad=lambda _step: 0.0):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        self.register_buffer('bank', torch.zeros(3, 2))
        self.bad, self.steps = bad, 0

    def forward(self, inputs, data_samples=None, mode='loss'):
        out = self.body(inputs)
        if mode != 'loss':
            return [dict() for _ in out]
        self.bank[data_samples['labels']] = out.detach()
        self.steps += 1
        loss = (out**2).mean() + out.sum() * 1e-2
        return dict(loss_a=loss, loss_b=loss * 0 + self.bad(self.steps - 1))


class Trace(Hook):
    """What was trained on: (epoch, batch_idx, iteration, indices)."""

    def __init__(self):
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        indices = data_batch['data_samples']['indices'].tolist()
        self.seen.append((runner.epoch, batch_idx, runner.iter, indices))


class Evaluations(Evaluator):
    """An evaluator whose score is what ``scores`` says, one after the other."""

    def __init__(self, *scores):
        super().__init__([])
        self.scores, self.calls = scores or (1.0,), 0

    def process(self, **_):
        pass

    def evaluate(self, _size):
        self.calls += 1
        return dict(score=self.scores[min(self.calls, len(self.scores)) - 1])


def run(work_dir, epochs=3, batch_size=4, hooks=(), saving=None, resume=None, paired=False, **kw):
    """A QuietRunner on :class:`Rows`."""
    torch.manual_seed(0)
    data = Rows()
    sampler = NaturalSampler(data, 0)
    kind = dict(type='GlobalBatchSampler', batch_size=batch_size)
    if paired:
        kind = PairedBatchSampler(sampler, batch_size, partner=dict(type='PowerSampler', q=0.5))
    loader = dict(
        dataset=data,
        sampler=sampler,
        batch_sampler=kind,
        num_workers=kw.pop('workers', 0),
        collate_fn=dict(type='default_collate'),
        batch_size=batch_size,
    )
    if paired:
        loader = torch.utils.data.DataLoader(
            data, batch_sampler=kind, num_workers=loader['num_workers']
        )
    if kw.get('val_evaluator'):
        plain = dict(type='DefaultSampler', shuffle=False)
        kw['val_dataloader'] = dict(
            dataset=data, batch_size=4, sampler=plain, collate_fn=dict(type='default_collate')
        )
        kw['val_cfg'] = dict()
    return QuietRunner(
        model=kw.pop('model', None) or Net(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=epochs, val_interval=kw.pop('val_interval', 1)),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=kw.pop('lr', 0.1), momentum=0.9)),
        param_scheduler=kw.pop('schedule', None),
        default_hooks=dict(checkpoint=RunCheckpointHook(**(saving or {}))),
        custom_hooks=[SafeCheckpointHook(), CheckpointGuardHook(), ResumedValidationHook(), *hooks],
        default_scope='bce3s',
        randomness=dict(seed=kw.pop('seed', 0)),
        log_level='ERROR',
        experiment_name=uuid.uuid4().hex,
        load_from=None if resume is None else str(resume),
        resume=resume is not None,
        **kw,
    )


def state(runner):
    """Weights, buffers and momentum, by name."""
    found = dict(runner.model.state_dict())
    for i, entry in enumerate(runner.optim_wrapper.optimizer.state.values()):
        found[f'momentum.{i}'] = entry['momentum_buffer']
    return found


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
