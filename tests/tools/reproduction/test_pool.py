"""Pools of runs that are only pretended: order, budget, failures, interruptions."""

import os
import signal
from dataclasses import replace

import fakes
import pytest
from fakes import BCE, CE, Child, checkpoint, job, put, report

from bce3s.errors import BCE3SError
from reproduction import pool as module
from reproduction.cells import Cell
from reproduction.jobs import CHANGED, CUT, DONE, NEW, Job
from reproduction.pool import FAILED, FINISHED, HALTED, WAITING, Pool


class Clock:
    """A second passes whenever the pool waits."""

    now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, _):
        self.now += 1


@pytest.fixture
def begin(monkeypatch):
    """``begin(jobs, pool, **child)``: runs the jobs as children that are only pretended; gives the
    outcomes in the order of the jobs, and what was begun.
    """
    monkeypatch.setattr(module, 'time', Clock())

    def begin(jobs, pool=None, **child):
        by_folder, begun, alive = {str(run.folder): run for run in jobs}, [], []

        def start(arguments, log, _):
            log.write_text('step 1\nerror: the loss is not finite.\n')
            at = arguments.index('--work-dir') + 1 if '--work-dir' in arguments else 1
            run = by_folder[arguments[at]]
            begun.append((run, arguments, Child(run, **child)))
            alive.append(len(pool.running) + 1)
            return begun[-1][2]

        pool = pool or Pool()
        monkeypatch.setattr(module, 'start', start)
        outcomes = pool.run(jobs)
        begin.alive = max(alive, default=0)
        return [outcomes[run] for run in jobs], begun

    return begin


def test_runs_what_has_no_result(tmp_path, begin, capsys):
    jobs = [job(tmp_path), job(tmp_path, BCE), job(tmp_path, BCE, 1)]
    outcomes, begun = begin(jobs, Pool(heading='small'))
    assert outcomes == [FINISHED] * 3
    assert [arguments[2:4] for _, arguments, _ in begun] == [['--seed', x] for x in '001']
    assert all(run.state == DONE for run in jobs)
    assert begin.alive == 1
    assert (jobs[1].folder.parent / 'config.py').read_text().startswith('"""digits/bce. small\n')
    assert jobs[1].note == {'digest': jobs[1].digest, 'commit': module.commit(), 'seconds': 1.0}
    assert f'--seed 0 --work-dir {jobs[1].folder} --overwrite' in capsys.readouterr().out


def test_several_at_a_time(tmp_path, begin):
    jobs = [job(tmp_path, CE, seed) for seed in range(5)]
    outcomes, _ = begin(jobs, Pool(parallel=3), polls=3)
    assert outcomes == [FINISHED] * 5
    assert begin.alive == 3


def test_a_run_cut_short_is_resumed_and_its_time_adds_up(tmp_path, begin):
    run = put(job(tmp_path), report=report(job(tmp_path), 2), cell={'seconds': 10.0})
    checkpoint(run, 2)
    outcomes, begun = begin([run])
    assert outcomes == [FINISHED]
    assert begun[0][1][-1] == '--resume'
    assert run.note['seconds'] == 11.0


def test_a_changed_config_is_trained_again_on_demand_only(tmp_path, begin, capsys):
    run = put(job(tmp_path), report=report(job(tmp_path), 4, sha='another'), measures={})
    checkpoint(run, 4)
    outcomes, begun = begin([run])
    assert (outcomes, begun) == ([CHANGED], [])
    assert '--overwrite deletes it' in capsys.readouterr().out
    config = run.folder.parent / 'config.py'
    config.write_text('of the other run')
    # one that dies at once leaves nothing of the old run, whose weights would be resumed
    outcomes, _ = begin([run], Pool(overwrite=True), status=1)
    assert outcomes == [FAILED]
    assert run.state == NEW
    assert not [*run.folder.glob('*.pth'), *run.folder.glob('*e[st].json')]
    assert "'max_epochs': 4" in config.read_text()


def test_a_failure_is_said_and_stops_nothing(tmp_path, begin, capsys):
    outcomes, _ = begin([job(tmp_path), job(tmp_path, BCE)], status=3)
    assert outcomes == [FAILED] * 2
    said = 'failed: digits/ce seed 0: error: the loss is not finite. (exit status 3; see '
    assert said in capsys.readouterr().out


def test_the_budget_halts_what_runs_and_begins_no_more(tmp_path, begin, capsys):
    jobs = [job(tmp_path, CE, seed) for seed in range(3)]
    outcomes, begun = begin(jobs, Pool(parallel=2, budget=5), polls=99)
    assert outcomes == [HALTED, HALTED, WAITING]
    assert [child.told for *_, child in begun] == [[signal.SIGINT, 'wait']] * 2
    assert jobs[0].state == CUT
    assert 'the next call resumes it from epoch_2' in capsys.readouterr().out


def test_a_run_that_does_not_end_when_it_is_asked_to_is_killed(tmp_path, begin, capsys):
    outcomes, begun = begin([job(tmp_path)], Pool(budget=2), polls=99, deaf=True, saved='')
    assert outcomes == [HALTED]
    assert begun[0][2].told == [signal.SIGINT, 'wait', 'kill', 'wait']
    assert 'no checkpoint yet' in capsys.readouterr().out


def test_ctrl_c_halts_the_runs(tmp_path, begin, monkeypatch):
    jobs, pool = [job(tmp_path, CE, seed) for seed in range(2)], Pool(parallel=2)
    # under nohup and the like it is ignored from the start
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(module.time, 'sleep', lambda _: os.kill(os.getpid(), signal.SIGINT))
    try:
        with pytest.raises(KeyboardInterrupt):
            begin(jobs, pool, polls=99)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert list(pool.outcomes.values()) == [HALTED] * 2
    assert not pool.running


def test_a_key_that_nothing_reads_is_an_error_before_anything_is_run(tmp_path, begin):
    wrong = job(tmp_path, Cell('digits/x', CE.config, {'model.head.jointt': 1}))
    with pytest.raises(BCE3SError, match=r"Cell digits/x, override .*Did you mean 'joint'"):
        begin([job(tmp_path), wrong])
    assert not job(tmp_path).folder.exists()


def test_a_second_stage_begins_when_its_first_is_done(tmp_path, begin):
    first = job(tmp_path)
    second = Job(BCE, 0, tmp_path / 'second', base=first)
    outcomes, begun = begin([second, first, job(tmp_path, CE, 1)], Pool(parallel=2), polls=3)
    assert outcomes == [FINISHED] * 3
    assert [run.name for run, *_ in begun] == [first.name, 'digits/ce seed 1', second.name]
    assert begun[-1][1][-2:] == ['--cfg-options', f'load_from={first.folder}/epoch_4.pth']
    assert second.config.load_from == f'{first.folder}/epoch_4.pth'


def test_a_second_stage_without_its_first_fails(tmp_path, begin, capsys):
    first = job(tmp_path)
    outcomes, begun = begin([first, Job(BCE, 0, tmp_path / 'second', base=first)], status=1)
    assert outcomes == [FAILED] * 2
    assert len(begun) == 1
    assert 'its first stage, digits/ce seed 0, is not done' in capsys.readouterr().out


def test_adjustments_follow_the_training_and_are_no_time_of_it(tmp_path, begin):
    run = replace(job(tmp_path), follow_ups=('posthoc',))
    outcomes, begun = begin([run])
    assert outcomes == [FINISHED]
    assert [arguments[0] for _, arguments, _ in begun] == ['train.py', 'posthoc.py']
    assert run.note['seconds'] == 1.0
    assert run.value('posthoc.ece', 'last') == 7.0
    assert run.value('report.all', 'last', 'Logit adjustment') == 55.0
    assert run.value('report.all', 'last') == 90.0


def test_adjustments_that_leave_nothing_have_failed(tmp_path, begin):
    run = replace(put(job(tmp_path), report=report(job(tmp_path), 4)), follow_ups=('posthoc',))
    checkpoint(run, 4)
    assert run.state == CUT
    outcomes, begun = begin([run], status=2)
    assert (outcomes, len(begun)) == ([FAILED], 1)
    assert begun[0][1][0] == 'posthoc.py'


def test_a_run_that_trained_another_config_is_kept_and_said(tmp_path, begin, monkeypatch):
    """As when its folder had a config of its own, which --resume takes."""
    run = job(tmp_path)
    monkeypatch.setattr(fakes, 'report', lambda job, epoch: report(job, epoch, sha='another'))
    outcomes, begun = begin([run])
    assert (outcomes, len(begun)) == ([FAILED], 1)
    assert run.state == CHANGED
