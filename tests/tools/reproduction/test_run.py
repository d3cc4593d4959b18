"""Sessions with runs that are only pretended: order, budget, failures, interruptions."""

import json
import os
import signal
import subprocess

import pytest
from fakes import BCE, CE, Trainer, checkpoint, job, put, report

from bce3s.errors import BCE3SError
from reproduction import run as run_module
from reproduction.cells import Cell
from reproduction.cost import Costs
from reproduction.plan import CHANGED, CUT, DONE, NEW
from reproduction.run import FAILED, FINISHED, HALTED, WAITING, Session, Settings


class Clock:
    """A second passes whenever the session waits."""

    now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, _):
        self.now += 1


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(run_module, 'time', Clock())
    return run_module.time


def session(trainer, **settings) -> tuple[Session, list[str]]:
    """A session and the lines it prints."""
    lines: list[str] = []
    return Session(Settings(**settings), Costs([], 1, 'cpu, 2 cores'), trainer, lines.append), lines


def what(outcomes) -> dict[str, str]:
    return {outcome.job.name: outcome.what for outcome in outcomes}


def test_runs_what_has_no_result_and_leaves_the_rest(tmp_path):
    done = put(job(tmp_path), report=report(job(tmp_path), 4))
    jobs = [done, job(tmp_path, BCE), job(tmp_path, BCE, 1)]
    trainer = Trainer(jobs)
    made, lines = session(trainer, heading='small')
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
    assert f'python tools/train.py {config} --seed 0 --work-dir {folder}' in '\n'.join(lines)


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
    made, _ = session(Trainer([run], polls=10**9), overwrite=True)
    made.start = lambda *_: Dead()
    (outcome,) = made.run([run])
    assert outcome.what == FAILED
    assert run.state == NEW
    assert not [*run.folder.glob('*.pth'), *run.folder.glob('report.json')]


class Dead:
    """A child that dies before it does anything."""

    def poll(self):
        return 1


def test_a_run_halted_before_its_first_checkpoint_says_so_and_counts_for_nothing(tmp_path):
    run = job(tmp_path)
    trainer = Trainer([run], polls=10**9)
    made, _ = session(trainer, budget=2.0)
    made.start = lambda *_: Endless()
    (outcome,) = made.run([run])
    assert outcome.what == HALTED
    assert 'before its first checkpoint; the next call starts it again' in outcome.text
    made, _ = session(Trainer([run]))
    assert what(made.run([run])) == {run.name: FINISHED}
    (part,) = json.loads((run.folder / 'cell.json').read_text())['runs']
    assert part['epochs'] == 4


class Endless:
    """A child that ends when it is told to, or, ``deaf``, when it is killed; ``told``: the signals
    that any of them got, and when one was waited for.
    """

    def __init__(self, told=None, deaf=False, interrupts=0):
        self.told, self.deaf, self.interrupts = [] if told is None else told, deaf, interrupts

    def poll(self):
        return None

    def send_signal(self, number):
        self.told.append(number)

    def wait(self, timeout=None):
        self.told.append('wait')
        for _ in range(self.interrupts):
            os.kill(os.getpid(), signal.SIGINT)
        if self.deaf and timeout is not None:
            raise subprocess.TimeoutExpired('train.py', timeout)
        return 130


def test_all_runs_are_told_to_end_at_once_and_a_second_signal_waits(tmp_path):
    jobs = [job(tmp_path, CE, seed) for seed in range(3)]
    made, _ = session(None, budget=30.0, parallel=3)
    told = []
    made.start = lambda *_: Endless(told, interrupts=2)
    # under nohup and the like it is ignored from the start
    ctrl_c = signal.signal(signal.SIGINT, signal.default_int_handler)
    run_module.time.sleep = lambda _: os.kill(os.getpid(), signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            made.run(jobs)
    finally:
        signal.signal(signal.SIGINT, ctrl_c)
    assert told == [signal.SIGINT] * 3 + ['wait'] * 3
    assert [outcome.what for outcome in made.outcomes] == [HALTED] * 3
    assert made.running == []


def test_a_run_that_does_not_end_when_it_is_asked_to_is_killed(tmp_path):
    made, _ = session(None, budget=2.0)
    child = Endless(deaf=True)
    made.start = lambda *_: child
    (outcome,) = made.run([job(tmp_path)])
    assert outcome.what == HALTED
    assert child.told == [signal.SIGINT, 'wait', signal.SIGKILL, 'wait']


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
    made, lines = session(Trainer(jobs, fail=('digits/ce',)))
    outcomes = made.run(jobs)
    assert what(outcomes) == {jobs[0].name: FAILED, jobs[1].name: FINISHED}
    failed = outcomes[0].text
    assert failed.startswith('digits/ce seed 0: the loss is not finite. (exit status 3; see ')
    assert failed in '\n'.join(lines)


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


def test_nothing_is_begun_after_the_budget(tmp_path):
    jobs = [job(tmp_path, CE, seed) for seed in range(3)]
    trainer = Trainer(jobs, polls=5)
    made, _ = session(trainer, budget=5.0)
    outcomes = made.run(jobs)
    assert [outcome.what for outcome in outcomes] == [FINISHED, WAITING, WAITING]
    assert 'the budget of time was spent' in outcomes[-1].text


def test_a_run_is_halted_when_the_budget_is_spent_and_the_next_call_resumes_it(tmp_path):
    jobs = [job(tmp_path, CE, seed) for seed in range(2)]
    trainer = Trainer(jobs, polls=10**9)  # longer than the whole budget: trained in pieces
    made, _ = session(trainer, budget=3.0)
    outcomes = made.run(jobs)
    assert [outcome.what for outcome in outcomes] == [HALTED, WAITING]
    assert (
        'spent after the checkpoint of epoch 2 of 4; the next call resumes it' in outcomes[0].text
    )
    assert jobs[0].state == CUT
    trainer.polls = 1
    made, _ = session(trainer)
    assert [outcome.what for outcome in made.run(jobs)] == [FINISHED, FINISHED]
    assert trainer.begun[1][-1] == '--resume'


def test_a_run_halted_within_an_epoch_says_where_it_is_saved(tmp_path):
    run = job(tmp_path)
    trainer = Trainer([run], polls=10**9, saves='iter_3.pth')
    made, _ = session(trainer, budget=3.0)
    (outcome,) = made.run([run])
    # 405 images in batches of 96, four epochs
    assert 'after the checkpoint of iteration 3 of 20; the next call resumes it' in outcome.text
    assert (run.state, run.epochs_done, run.iterations_done) == (CUT, 0, 3)
    (part,) = json.loads((run.folder / 'cell.json').read_text())['runs']
    assert part['epochs'] == 0.6


def test_a_cause_is_said_once(tmp_path):
    jobs = [job(tmp_path), job(tmp_path, BCE), job(tmp_path, CE, 1)]
    made, lines = session(Trainer(jobs, fail=('digits/ce', 'digits/bce')))
    made.run(jobs)
    printed = '\n'.join(lines)
    assert printed.count('the loss is not finite.') == 1
    assert printed.count(': as digits/ce seed 0 (exit status 3; see ') == 2


def test_a_run_begun_with_other_options_names_them(tmp_path):
    begun = {'model.precision': 'bf16', 'train_cfg.max_epochs': 4}
    run = put(job(tmp_path), cell={'digest': 'another', 'options': begun})
    checkpoint(run, 2)
    made, _ = session(Trainer([run]), options={})
    (outcome,) = made.run([run])
    assert 'begun with --cfg-options model.precision=bf16 train_cfg.max_epochs=4' in outcome.text
    assert 'Give the same to go on' in outcome.text
    made, _ = session(Trainer([run]), options=begun)  # the same: its config is another by itself
    (outcome,) = made.run([run])
    assert 'holds a run with another config' in outcome.text


def test_an_interruption_halts_the_runs_and_goes_on(tmp_path):
    jobs = [job(tmp_path, CE, seed) for seed in range(2)]
    trainer = Trainer(jobs, polls=10**9)
    made, _ = session(trainer, parallel=2)
    run_module.time.sleep = lambda _: (_ for _ in ()).throw(KeyboardInterrupt)
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
