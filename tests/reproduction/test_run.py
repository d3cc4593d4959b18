"""Sessions with runs that are only pretended: order, budget, failures, interruptions."""

import io
import json
import os
import signal
import threading

import pytest
import torch
from fakes import BCE, CE, Trainer, checkpoint, job, put, report

from bce3s.errors import BCE3SError
from bce3s.reproduction.cells import Cell
from bce3s.reproduction.cost import Costs
from bce3s.reproduction.plan import CHANGED, CUT, DONE, NEW
from bce3s.reproduction.progress import Progress
from bce3s.reproduction.run import FAILED, FINISHED, HALTED, WAITING, Session, Settings


class Clock:
    """Seconds that pass while somebody waits, and at no other time."""

    def __init__(self):
        self.now = 0.0

    def wait(self, seconds):
        self.now += seconds


def session(trainer: Trainer, seconds: float | None = None, **settings) -> tuple[Session, list]:
    """A session whose every run is estimated at ``seconds``; each look at the runs takes
    ``WAIT``, a tenth of a second.
    """
    costs = Costs([], 1, 'cpu, 2 cores')
    if seconds is not None:
        from bce3s.reproduction.cost import Estimate

        costs.estimate = lambda _: Estimate(seconds, 'by agreement')
    stream = io.StringIO()
    clock = Clock()
    times = (lambda: clock.now, clock.wait)
    made = Session(Settings(**settings), trainer, costs, Progress(stream), times)
    return made, stream


def what(outcomes) -> dict[str, str]:
    return {outcome.job.name: outcome.what for outcome in outcomes}


def test_runs_what_has_no_result_and_leaves_the_rest(tmp_path):
    done = put(job(tmp_path), report=report(job(tmp_path), 4))
    jobs = [done, job(tmp_path, BCE), job(tmp_path, BCE, 1)]
    trainer = Trainer(jobs)
    made, stream = session(trainer, heading='small')
    assert set(what(made.run(jobs)).values()) == {FINISHED}
    assert [arguments[1:3] for arguments in trainer.begun] == [['--seed', '0'], ['--seed', '1']]
    assert all(job.state == DONE for job in jobs)
    assert trainer.most_alive == 1
    folder = jobs[1].folder
    assert (folder.parent / 'config.py').read_text().startswith('"""digits/bce. small\n')
    note = json.loads((folder / 'cell.json').read_text())
    assert (note['key'], note['digest'], note['threads']) == ('digits/bce', jobs[1].digest, 1)
    (part,) = note['runs']
    assert part['epochs'] == 4
    config = folder.parent / 'config.py'
    assert f'python tools/train.py {config} --seed 0 --work-dir {folder}' in stream.getvalue()


def test_a_run_cut_short_is_resumed_and_its_log_kept(tmp_path):
    run = put(job(tmp_path), report=report(job(tmp_path), 2))
    checkpoint(run, 2)
    (run.folder / 'console.log').write_text('before')
    trainer = Trainer([run])
    made, _ = session(trainer)
    assert run.state == CUT
    assert what(made.run([run])) == {run.name: FINISHED}
    assert trainer.begun[0][-1] == '--resume'
    assert (run.folder / 'console.log').read_text() == 'before'
    (part,) = json.loads((run.folder / 'cell.json').read_text())['runs']
    assert part['epochs'] == 2


def test_a_changed_run_that_dies_at_once_leaves_nothing_of_the_old_one(tmp_path):
    """Else the old weights would be resumed under the new config."""
    run = put(job(tmp_path), report=report(job(tmp_path), 4, sha='another'), measures={})
    checkpoint(run, 4)
    made, _ = session(Trainer([run], polls=10**9), budget=2.0, seconds=1.0, overwrite=True)
    made.start = lambda *_: Dead()
    (outcome,) = made.run([run])
    assert outcome.what == FAILED
    assert run.state == NEW
    assert not [*run.folder.glob('*.pth'), *run.folder.glob('report.json')]


class Dead:
    """A child that dies before it does anything."""

    def poll(self):
        return 1

    stop = poll


def test_a_run_halted_before_its_first_checkpoint_says_so_and_counts_for_nothing(tmp_path):
    run = job(tmp_path)
    trainer = Trainer([run], polls=10**9)
    made, _ = session(trainer, seconds=100.0, budget=2.0)
    made.start = lambda *_: Endless()
    (outcome,) = made.run([run])
    assert outcome.what == HALTED
    assert 'before its first checkpoint; the next call starts it again' in outcome.text
    made, _ = session(Trainer([run]))
    assert what(made.run([run])) == {run.name: FINISHED}
    (part,) = json.loads((run.folder / 'cell.json').read_text())['runs']
    assert part['epochs'] == 4


class Endless:
    """A child that ends when it is told to."""

    def poll(self):
        return None

    def stop(self):
        return 130


class Together(Endless):
    """Ends once all of them are being told to, and after a second Ctrl-C."""

    def __init__(self, barrier):
        self.barrier = barrier

    def stop(self):
        if self.barrier.wait(60) == 0:
            os.kill(os.getpid(), signal.SIGINT)
        self.barrier.wait(60)
        return 130


def test_a_run_halted_within_an_epoch_is_resumed_there(tmp_path):
    """A checkpoint of an iteration counts as one: of the epochs that it has behind it."""

    class Halted(Endless):
        def stop(self):
            torch.save({'meta': {'epoch': 3, 'iter': 40}}, run.folder / 'iter_40.pth')
            return 130

    run = job(tmp_path)
    made, _ = session(Trainer([run]), seconds=100.0, budget=2.0)
    made.start = lambda *_: Halted()
    (outcome,) = made.run([run])
    assert 'with 3 of 4 epochs done and saved; the next call resumes it' in outcome.text
    assert (run.state, run.epochs_done) == (CUT, 3)
    (run.folder / 'iter_50.pth').write_bytes(b'damaged')
    assert run.epochs_done == 3
    trainer = Trainer([run])
    made, _ = session(trainer)
    assert what(made.run([run])) == {run.name: FINISHED}
    assert trainer.begun[0][-1] == '--resume'


def test_all_runs_are_told_to_end_at_once_and_a_second_signal_waits(tmp_path):
    jobs = [job(tmp_path, CE, seed) for seed in range(3)]
    made, _ = session(Trainer(jobs), seconds=1.0, budget=30.0, parallel=3)
    barrier = threading.Barrier(3)
    made.start = lambda *_: Together(barrier)
    made._look = lambda: os.kill(os.getpid(), signal.SIGINT)
    # under nohup and the like it is ignored from the start
    ctrl_c = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            made.run(jobs)
    finally:
        signal.signal(signal.SIGINT, ctrl_c)
    assert not barrier.broken
    assert [outcome.what for outcome in made.outcomes][:3] == [HALTED] * 3
    assert made.running == []


def test_a_changed_config_is_said_and_run_again_on_demand_only(tmp_path):
    run = put(job(tmp_path), report=report(job(tmp_path), 4, sha='another'), measures={})
    checkpoint(run, 4)
    trainer = Trainer([run])
    made, _ = session(trainer)
    (outcome,) = made.run([run])
    assert outcome.what == CHANGED
    assert '--overwrite' in outcome.text
    assert trainer.begun == []
    made, _ = session(trainer, overwrite=True)
    assert what(made.run([run])) == {run.name: FINISHED}
    assert trainer.begun[0][-1] == '--overwrite'
    assert not (run.folder / 'measures.json').exists()


def test_a_failure_is_reported_and_stops_nothing(tmp_path):
    jobs = [job(tmp_path), job(tmp_path, BCE)]
    made, stream = session(Trainer(jobs, fail=('digits/ce',)))
    outcomes = made.run(jobs)
    assert what(outcomes) == {jobs[0].name: FAILED, jobs[1].name: FINISHED}
    failed = outcomes[0].text
    assert failed.startswith('digits/ce seed 0: the loss is not finite. (exit status 3; see ')
    assert failed in stream.getvalue()


def test_a_run_that_ends_without_a_report_has_failed(tmp_path):
    run = job(tmp_path)

    class Silent:
        def poll(self):
            return 0

    made, _ = session(lambda *_: Silent())
    (outcome,) = made.run([run])
    assert outcome.what == FAILED


def test_several_at_a_time(tmp_path):
    jobs = [job(tmp_path, CE, seed) for seed in range(5)]
    trainer = Trainer(jobs, polls=3)
    made, _ = session(trainer, parallel=2)
    assert list(what(made.run(jobs)).values()) == [FINISHED] * 5
    assert trainer.most_alive == 2


def test_nothing_is_begun_that_would_not_fit_into_the_budget(tmp_path):
    jobs = [job(tmp_path, CE, seed) for seed in range(3)]
    trainer = Trainer(jobs, polls=5)
    made, _ = session(trainer, seconds=7.0, budget=7.4)  # a run takes half a second
    outcomes = made.run(jobs)
    assert [outcome.what for outcome in outcomes] == [FINISHED, WAITING, WAITING]
    assert 'would not have fitted' in outcomes[-1].text


def test_a_run_is_halted_when_the_budget_is_spent_and_the_next_call_resumes_it(tmp_path):
    jobs = [job(tmp_path, CE, seed) for seed in range(2)]
    trainer = Trainer(jobs, polls=10**9)  # longer than the whole budget: trained in pieces
    made, _ = session(trainer, seconds=100.0, budget=5.0)
    outcomes = made.run(jobs)
    assert [outcome.what for outcome in outcomes] == [HALTED, WAITING]
    said = 'spent with 2 of 4 epochs done and saved; the next call resumes it'
    assert said in outcomes[0].text
    assert jobs[0].state == CUT
    trainer.polls = 1
    made, _ = session(trainer)
    assert [outcome.what for outcome in made.run(jobs)] == [FINISHED, FINISHED]
    assert trainer.begun[1][-1] == '--resume'


def test_an_interruption_halts_the_runs_and_goes_on(tmp_path):
    jobs = [job(tmp_path, CE, seed) for seed in range(2)]
    trainer = Trainer(jobs, polls=10**9)
    made, _ = session(trainer, parallel=2)
    made.progress.show = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        made.run(jobs)
    assert [outcome.what for outcome in made.outcomes] == [HALTED, HALTED]
    assert trainer.alive == 0


def test_a_key_that_nothing_reads_is_an_error_before_anything_is_run(tmp_path):
    wrong = job(tmp_path, Cell('digits/x', CE.config, {'model.head.jointt': 1}))
    trainer = Trainer([wrong])
    made, _ = session(trainer)
    with pytest.raises(BCE3SError, match=r"Cell digits/x, override .*Did you mean 'joint'"):
        made.run([job(tmp_path), wrong])
    assert trainer.begun == []


def test_the_live_line(tmp_path):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    jobs = [job(tmp_path, CE, seed) for seed in range(2)]
    made = Session(Settings(), Trainer(jobs, 3), Costs([], 1, 'cpu'), Progress(stream, 0.0))
    made.run(jobs)
    shown = stream.getvalue()
    assert '[1/2] digits/ce seed 0: epoch 0/4, 0 s; about ' in shown
    assert '[2/2] digits/ce seed 1: finished' in shown
    assert shown.endswith('\n')
