"""A run that goes on within an epoch takes the steps of one that was never stopped."""

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from toy_runs import N, Trace, equal, run, state

from bce3s.engine.loops import ResumableTrainLoop, epoch_size
from bce3s.errors import BCE3SError

EVERY = dict(interval_iters=1, max_keep_ckpts=-1)


class Rates(Hook):
    def __init__(self):
        self.rates = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.rates.append(runner.optim_wrapper.optimizer.param_groups[0]['lr'])


def schedules(by_epoch):
    return dict(type='LinearLR', start_factor=0.1, end=3 if by_epoch else 15, by_epoch=by_epoch)


@pytest.mark.parametrize('at', [1, 5, 8, 11])  # of 6 batches an epoch
@pytest.mark.parametrize(
    ('paired', 'workers', 'by_epoch'), [(False, 0, True), (True, 0, False), (True, 2, False)]
)
def test_within_an_epoch_it_goes_on_with_the_same_permutation(
    tmp_path, at, paired, workers, by_epoch
):
    options = dict(saving=EVERY, paired=paired, schedule=schedules(by_epoch))
    whole = run(tmp_path / 'a', hooks=[whole_trace := Trace(), whole_rates := Rates()], **options)
    whole.train()
    path = tmp_path / 'a' / f'iter_{at}.pth'
    resumed = run(
        tmp_path / 'b',
        hooks=[trace := Trace(), rates := Rates()],
        resume=path,
        workers=workers,
        **options,
    )
    resumed.train()
    assert trace.seen == whole_trace.seen[at:]
    assert [seen[:3] for seen in trace.seen[:2]] == [(i // 6, i % 6, i) for i in (at, at + 1)]
    assert rates.rates == whole_rates.rates[at:]
    assert resumed.max_iters == resumed.iter == 18
    assert equal(state(whole), state(resumed))
    for name in ('train/loss', 'train/loss_a', 'train/lr'):
        histories = [r.message_hub.get_scalar(name).data[0] for r in (whole, resumed)]
        assert np.array_equal(*histories)
        assert len(histories[0]) == 18


def test_a_batch_sampler_of_others_is_run_ahead(tmp_path):
    def build(folder, **kw):
        runner = run(folder, saving=EVERY, **kw)
        runner._train_dataloader = torch.utils.data.DataLoader(
            runner._train_dataloader['dataset'], batch_size=4
        )
        return runner

    build(tmp_path / 'a').train()
    runner = build(tmp_path / 'b', resume=tmp_path / 'a' / 'iter_8.pth', hooks=[trace := Trace()])
    runner.train()
    assert trace.seen[0] == (1, 2, 8, [8, 9, 10, 11])


def test_what_a_hook_forgets_at_the_start_of_an_epoch_was_forgotten(tmp_path):
    class Forgets(Hook):
        """As the second stage does."""

        def before_train_epoch(self, runner):
            if runner.epoch == 1:
                runner.optim_wrapper.optimizer.state.clear()

    whole = run(tmp_path / 'a', hooks=[Forgets()], saving=EVERY)
    whole.train()
    for name in ('epoch_1', 'iter_9'):
        resumed = run(tmp_path / name, hooks=[Forgets()], resume=tmp_path / 'a' / f'{name}.pth')
        resumed.train()
        assert equal(state(whole), state(resumed)), name


def test_another_batch_size_within_an_epoch_is_refused_and_at_its_end_counted(tmp_path):
    run(tmp_path / 'a', saving=EVERY).train()
    with pytest.raises(
        BCE3SError,
        match=r'within epoch 2, after 2 of 6 batches \(22 samples, 4 a batch\); in this run an '
        r'epoch has 11 batches \(22 samples, 2 a batch\)',
    ):
        run(tmp_path / 'b', resume=tmp_path / 'a' / 'iter_8.pth', batch_size=2).train()
    # as many batches, but others
    with pytest.raises(BCE3SError, match='5 a batch'):
        run(tmp_path / 'b', resume=tmp_path / 'a' / 'iter_8.pth', batch_size=5).train()
    trace = Trace()
    path = tmp_path / 'a' / 'epoch_2.pth'
    resumed = run(tmp_path / 'c', resume=path, batch_size=2, hooks=[trace])
    resumed.train()
    assert trace.seen[0][:3] == (2, 0, 22)
    assert resumed.iter == resumed.max_iters == 33


def test_a_checkpoint_of_an_earlier_version_is_at_the_end_of_an_epoch(tmp_path):
    run(tmp_path / 'a', epochs=2).train()
    path = tmp_path / 'a' / 'epoch_2.pth'
    old = torch.load(path, weights_only=True)
    del old['meta']['epoch_size'], old['meta']['serial']
    torch.save(old, path)
    trace = Trace()
    run(tmp_path / 'b', resume=path, batch_size=2, hooks=[trace]).train()
    assert trace.seen[0][:3] == (2, 0, 22)


def test_the_order_follows_the_checkpoints_seed(tmp_path):
    whole = run(tmp_path / 'a', saving=EVERY)
    whole.train()
    resumed = run(tmp_path / 'b', resume=tmp_path / 'a' / 'iter_8.pth')
    resumed.train_dataloader.batch_sampler.sampler.seed = 7  # as if the config said so
    resumed.train()
    assert equal(state(whole), state(resumed))


def test_the_runner_takes_this_loop_and_leaves_others(tmp_path):
    runner = run(tmp_path)
    assert type(runner.train_loop) is ResumableTrainLoop
    assert epoch_size(runner.train_dataloader) == dict(batches=6, global_batch=4, samples=N)
    runner = run(tmp_path)
    runner._train_loop = dict(by_epoch=False, max_iters=5)
    assert type(runner.train_loop).__name__ == 'IterBasedTrainLoop'
