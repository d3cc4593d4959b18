"""When a run saves and what it keeps; what it does when it is asked to stop."""

import os
import signal
import time

import pytest
import torch
from mmengine.hooks import Hook
from toy_runs import Evaluations, Net, Trace, equal, run, state

from bce3s.engine.checkpoint import resolve_checkpoint, survey
from bce3s.engine.run_state import all_or_none, highest
from bce3s.engine.saving import RunCheckpointHook
from bce3s.errors import BCE3SError
from bce3s.signals import Preempted, StopSignals


def names(folder):
    return sorted(path.name for path in folder.glob('*.pth'))


class Signals(Hook):
    """Sends this process a signal at a moment of the run."""

    priority = 'HIGHEST'

    def __init__(self, stage, at, number=signal.SIGTERM, times=1):
        self.at, self.number, self.times = at, number, times
        setattr(self, stage, self.send)

    def send(self, runner, *_, **__):
        if runner.iter == self.at:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)


# ------------------------------------------------------------ when
def test_by_epoch_and_by_iteration(tmp_path):
    run(tmp_path, epochs=2, saving=dict(interval_iters=3, max_keep_ckpts=-1)).train()
    # iterations 6 and 12 end an epoch, whose checkpoint holds the same and more
    assert names(tmp_path) == ['epoch_1.pth', 'epoch_2.pth', 'iter_3.pth', 'iter_9.pth']
    meta = torch.load(tmp_path / 'iter_9.pth', weights_only=True)['meta']
    assert (meta['epoch'], meta['iter'], meta['serial']) == (1, 9, 3)
    assert meta['epoch_size'] == dict(batches=6, global_batch=4, samples=22)
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_2.pth')


def test_one_by_iteration_that_is_due_at_the_end_of_an_epoch_is_that_of_the_epoch(tmp_path):
    saving = dict(interval=-1, interval_iters=6, save_last=False, max_keep_ckpts=-1)
    run(tmp_path, epochs=3, saving=saving).train()
    assert names(tmp_path) == ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth']


def test_by_the_clock(tmp_path, monkeypatch):
    class Slow(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            monkeypatch.setattr(time, 'monotonic', lambda: 25.0 * runner.iter)

    monkeypatch.setattr(time, 'monotonic', lambda: 0.0)
    saving = dict(interval=-1, interval_minutes=1, max_keep_ckpts=-1)
    run(tmp_path, epochs=2, saving=saving, hooks=[Slow()]).train()
    # 75 s after iteration 4, and again at the end of epoch 1; the end of epoch 2 in any case
    assert names(tmp_path) == ['epoch_1.pth', 'epoch_2.pth', 'iter_10.pth', 'iter_4.pth']


@pytest.mark.parametrize(
    'wrong', [dict(interval_iters=-1), dict(look_every=0), dict(max_keep_ckpts=0)]
)
def test_intervals_that_make_no_sense(wrong):
    with pytest.raises(BCE3SError, match='RunCheckpointHook: interval_iters='):
        RunCheckpointHook(**wrong)


# ------------------------------------------------------------ what is kept
def test_the_last_sound_ones_are_kept_and_a_damaged_one_does_not_count(tmp_path):
    run(tmp_path, epochs=3, saving=dict(interval_iters=2, max_keep_ckpts=3)).train()
    assert names(tmp_path) == ['epoch_3.pth', 'iter_14.pth', 'iter_16.pth']
    for name in ('epoch_3.pth', 'iter_16.pth'):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-300])
    path = resolve_checkpoint(tmp_path, 'auto')
    assert path.name == 'iter_14.pth'
    (tmp_path / '.iter_99.pth.tmp').write_bytes(b'left by a kill')
    noted = []

    class Note(Hook):
        priority = 'LOWEST'

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            noted.append(names(tmp_path))

    run(tmp_path, epochs=4, saving=dict(max_keep_ckpts=3), resume=path, hooks=[Note()]).train()
    # until there are three sound ones again nothing goes
    assert noted[0] == ['epoch_3.pth', 'iter_14.pth', 'iter_16.pth']
    assert names(tmp_path) == ['epoch_3.pth', 'epoch_4.pth', 'iter_14.pth']
    assert len(survey(tmp_path)[0]) == 3
    assert not list(tmp_path.glob('.*.tmp'))


def test_the_best_is_kept_beside_the_last(tmp_path):
    saving = dict(max_keep_ckpts=1, save_best='score', rule='greater')
    run(tmp_path, epochs=3, saving=saving, val_evaluator=Evaluations(1.0, 3.0, 2.0)).train()
    assert names(tmp_path) == ['best_score_epoch_2.pth', 'epoch_3.pth']
    info = torch.load(tmp_path / 'epoch_3.pth', weights_only=True)['message_hub']['runtime_info']
    assert info['best_score'] == 3.0


# ------------------------------------------------------------ asked to stop
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
@pytest.mark.parametrize(('at', 'saved'), [(0, 'iter_1'), (7, 'iter_8'), (11, 'epoch_2')])
def test_after_the_present_iteration(tmp_path, number, at, saved):
    whole = run(tmp_path / 'a')
    whole.train()
    before = signal.getsignal(number)
    asked = run(tmp_path / 'b', hooks=[Signals('after_train_iter', at, number)])
    with pytest.raises(Preempted) as info, StopSignals():
        asked.train()
    assert signal.getsignal(number) is before
    assert names(tmp_path / 'b')[-1] == f'{saved}.pth'
    place = 'after epoch 2' if at == 11 else f'in epoch {at // 6 + 1} after iteration {at + 1}'
    path = tmp_path / 'b' / f'{saved}.pth'
    assert str(info.value) == (
        f'Stopped by {number.name} {place}; saved {path}; continue with --resume.'
    )
    assert info.value.status == (130 if number == signal.SIGINT else 0)
    resumed = run(tmp_path / 'b', resume=resolve_checkpoint(tmp_path / 'b', 'auto'))
    resumed.train()
    assert equal(state(whole), state(resumed))


def test_a_second_signal_while_it_saves_changes_nothing(tmp_path):
    class Again(Hook):
        def before_save_checkpoint(self, runner, checkpoint):
            if runner.iter == 7:
                os.kill(os.getpid(), signal.SIGTERM)

    hooks = [Signals('after_train_iter', 7), Again()]
    with pytest.raises(Preempted), StopSignals():
        run(tmp_path, hooks=hooks).train()
    assert [path.name for path, _ in survey(tmp_path)[0]] == ['epoch_1.pth', 'iter_8.pth']


@pytest.mark.parametrize('interval', [1, 5])
def test_a_validation_is_broken_off_and_made_up_for(tmp_path, interval):
    """With an interval of 5 nothing was saved at the end of the epoch yet."""
    whole = run(tmp_path / 'a', val_evaluator=Evaluations())
    whole.train()
    saving = dict(interval=interval)
    hooks = [Signals('after_val_iter', 6)]
    with pytest.raises(Preempted, match='while validating epoch 1; saved'), StopSignals():
        run(tmp_path / 'b', saving=saving, hooks=hooks, val_evaluator=Evaluations()).train()
    assert names(tmp_path / 'b') == ['epoch_1.pth']
    evaluations = Evaluations()
    path = tmp_path / 'b' / 'epoch_1.pth'
    resumed = run(tmp_path / 'b', resume=path, val_evaluator=evaluations)
    resumed.train()
    assert evaluations.calls == 3
    assert equal(state(whole), state(resumed))


def test_a_validation_that_was_made_is_not_made_again(tmp_path):
    run(tmp_path, saving=dict(interval_iters=2), val_evaluator=Evaluations()).train()
    evaluations, trace = Evaluations(), Trace()
    path = tmp_path / 'iter_16.pth'
    run(tmp_path, resume=path, hooks=[trace], val_evaluator=evaluations).train()
    assert (evaluations.calls, len(trace.seen)) == (1, 2)


def test_without_anybody_listening_a_signal_does_what_it_did(tmp_path):
    """In a library's use of the runner."""
    got = []
    before = signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
    try:
        run(tmp_path, hooks=[Signals('after_train_iter', 3, signal.SIGUSR1)]).train()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert got == [1]
    assert names(tmp_path)[-1] == 'epoch_3.pth'


# ------------------------------------------------------------ several processes
def test_one_process_agrees_with_itself():
    assert highest(None, 3, 0) == (3, 0)
    with pytest.raises(ValueError, match='mine'), all_or_none(None):
        raise ValueError('mine')


def test_weights_that_are_not_finite_leave_the_former(tmp_path):
    net = Net(bad=lambda step: float('nan') if step == 8 else 0.0)
    from bce3s.engine.non_finite import NonFiniteLossHook

    with pytest.raises(BCE3SError, match='epoch 2, iteration 9'):
        run(
            tmp_path,
            model=net,
            hooks=[NonFiniteLossHook(50)],
            saving=dict(interval_iters=4),
        ).train()
    assert names(tmp_path) == ['epoch_1.pth', 'iter_8.pth']
