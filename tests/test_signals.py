"""Signals ask a run to stop, and nothing else."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from bce3s import signals
from bce3s.signals import Preempted, ShieldedWorker, StopSignals, be_patient, requested


def test_at_start_up_the_first_one_stops_at_once():
    def start_up():
        with StopSignals():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)

    with pytest.raises(Preempted, match='Stopped by SIGTERM before the first iteration'):
        start_up()
    assert requested() == 0


def test_later_it_is_noted_and_further_ones_change_nothing():
    before = [signal.getsignal(number) for number in signals.STOPPING]
    with StopSignals():
        be_patient()
        assert requested() == 0
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert requested() == signal.SIGUSR1
    assert requested() == 0
    assert [signal.getsignal(number) for number in signals.STOPPING] == before


def test_a_terminal_that_is_closed_asks_for_a_stop_but_under_nohup():
    before = signal.getsignal(signal.SIGHUP)
    try:
        for handler, expected in ((signal.SIG_DFL, signal.SIGHUP), (signal.SIG_IGN, 0)):
            signal.signal(signal.SIGHUP, handler)
            with StopSignals():
                be_patient()
                os.kill(os.getpid(), signal.SIGHUP)
                assert requested() == expected
            assert signal.getsignal(signal.SIGHUP) == handler
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_second_ctrl_c_is_one(monkeypatch):
    def twice():
        with StopSignals():
            be_patient()
            os.kill(os.getpid(), signal.SIGINT)
            assert requested() == signal.SIGINT
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        twice()
    monkeypatch.setenv('LOCAL_RANK', '0')  # a launcher hands it on
    twice()


def test_no_except_swallows_it():
    assert not issubclass(Preempted, Exception)
    assert [Preempted(name, '').status for name in ('SIGTERM', 'SIGUSR1', 'SIGINT')] == [0, 0, 130]


class Workers(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, i):
        return os.getpid()


def test_a_loaders_workers_outlive_what_is_meant_for_the_run():
    started = []
    with StopSignals():
        be_patient()
        loader = torch.utils.data.DataLoader(
            Workers(), num_workers=2, worker_init_fn=started.append, prefetch_factor=1
        )
        signals.shield_workers(loader)
        assert isinstance(loader.worker_init_fn, ShieldedWorker)
        batches = iter(loader)
        pids = [next(batches).item() for _ in range(2)]
        # as Slurm does; one after the other, each before the next batch
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            for pid in pids:
                subprocess.run([sys.executable, '-c', f'import os; os.kill({pid}, {number})'])
        assert len([next(batches) for _ in range(6)]) == 6
        assert requested() == 0
        for worker in batches._workers:
            assert worker.is_alive()
            worker.terminate()  # by the run itself
            worker.join(120)
            assert worker.exitcode == 0
        signals.shield_workers(torch.utils.data.DataLoader(Workers()))
    loader = torch.utils.data.DataLoader(Workers(), num_workers=1)
    signals.shield_workers(loader)
    assert loader.worker_init_fn is None  # nobody is listening


def test_a_forked_process_is_not_kept_from_ending():
    with StopSignals():
        be_patient()
        pid = os.fork()
        if pid == 0:
            time.sleep(20)
            os._exit(3)
        time.sleep(0.2)
        os.kill(pid, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
