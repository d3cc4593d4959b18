"""The sections data and step run, by the code that measures in earnest, on tiny sizes."""

from __future__ import annotations

import copy
import os

import pytest
import torch

from benchmarks import data, plain, runs, step, step_parts
from benchmarks.timing import Options

QUICK = Options(quick=True, seconds=0.001, threads=1)


def positive(table, *columns):
    assert table.rows
    for row in table.rows:
        for name in columns:
            assert row[name] > 0, (table.title, name, row)
    assert table.text()


@pytest.fixture
def one_network(monkeypatch):
    """One network, one method."""
    monkeypatch.setattr(
        runs, 'NETWORKS', {'ResNet-32': {k: runs.NETWORKS['ResNet-32'][k] for k in ('CE', 'BCE3S')}}
    )


# ------------------------------------------------------------ data
def test_data():
    threads = torch.get_num_threads()
    (throughput,) = data.run(QUICK)
    positive(throughput, 'images/s', 'us an image', 'ratio')
    assert [row['batch'] for row in throughput.rows] == [None, 8, 16]
    assert throughput.rows[0]['ratio'] == 1
    assert torch.get_num_threads() == threads


# ------------------------------------------------------------ step
@pytest.mark.usefixtures('one_network')
def test_whole_steps():
    table = step.steps(QUICK)
    assert [row['method'] for row in table.rows] == ['CE', 'BCE3S']
    assert [row['images'] for row in table.rows] == [8, 24]
    positive(table, 'ours', 'ours fp32', 'plain', 'ratio', 'ratio fp32', 'GFLOP', 'MFU')
    one, three = (row['GFLOP'] for row in table.rows)
    assert three / one == pytest.approx(3, rel=0.1)
    assert 'noise' in table.notes[0]


@pytest.mark.usefixtures('one_network')
def test_where_a_step_goes_and_what_branches_cost():
    table = step_parts.parts(QUICK)
    positive(table, *step_parts.PARTS, 'sum', 'whole step')
    row = table.rows[0]
    assert sum(row[name] for name in step_parts.PARTS) == pytest.approx(row['sum'])
    positive(step_parts.branches(QUICK), 'three branches', 'CE', 'a step')


@pytest.mark.usefixtures('one_network')
def test_what_each_choice_is_worth():
    table = step_parts.choices(QUICK)
    positive(table, 'as shipped: ms', *step_parts.WITHOUT)


def test_flops_of_resnet_32_are_as_counted_by_hand():
    from torch.utils.flop_counter import FlopCounterMode

    from bce3s.models.backbones.cifar_resnet import CIFARResNet

    with FlopCounterMode(display=False) as counter:
        CIFARResNet(32)(torch.zeros(1, 3, 32, 32))
    macs = 32 * 32 * 9 * 16 * 3  # stem
    for stage, (channels, side) in enumerate([(16, 32), (32, 16), (64, 8)]):
        pixels = side * side * 9
        macs += 10 * pixels * channels**2
        macs -= pixels * channels**2 // 2 if stage else 0  # the first sees half the channels
    assert counter.get_total_flops() == 2 * macs


def state_of(pid):
    with open(f'/proc/{pid}/stat') as file:
        return file.read().rsplit(')', 1)[1].split()[0]


@pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='needs /proc')
def test_workers_stand_still_between_turns_and_end():
    cfg = runs.config(runs.NETWORKS['ResNet-32']['BCE3S'], QUICK)
    with runs.started(copy.deepcopy(cfg)) as ours:
        training = step.plain_training(cfg, ours, 'BCE3S', QUICK)
        assert len(training.loaders) == 2
        with step.Workers(training) as workers:
            training.step()
            processes = [w for it in training.iterators for w in it._workers]
            assert len(processes) >= 2
            workers.halt()
            for process in processes:
                os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
                assert state_of(process.pid) == 'T'
            workers.work()
            training.step()
        for process in processes:
            process.join(120)
            assert not process.is_alive()


def test_plain_takes_network_images_and_optimiser_of_the_config():
    cfg = runs.config(runs.NETWORKS['ResNet-34']['BCE3S'], QUICK)
    with runs.started(copy.deepcopy(cfg)) as ours:
        training = step.plain_training(cfg, ours, 'BCE3S', QUICK)
        model, group = training.model, training.optimizer.param_groups[0]
        training.iterators.clear()
        mine = [p.shape for n, p in ours.model.named_parameters()]
        assert sorted(mine) == sorted(p.shape for p in model.parameters())
        for name in plain.SGD_ARGUMENTS:
            assert group[name] == cfg.optim_wrapper.optimizer[name]
        assert not group['foreach']
        dataset = training.loaders[0].dataset
        assert len(dataset) == len(ours.dataset)
        assert (dataset.images[5].transpose(2, 0, 1) == ours.dataset.images[5].numpy()).all()
    # the quirks of the published recipe, which this config has
    assert (model.soft_negatives, model.diagonal, model.resample) == (False, True, 0.4)


# ------------------------------------------------------------ runs
def test_a_run_goes_through_epochs_and_learns():
    few = {'train_dataloader.batch_size': 100, 'train_dataloader.dataset.per_class': 5}
    cfg = runs.config(runs.NETWORKS['ResNet-32']['BCE3S'], QUICK, few)  # 216 images
    with runs.started(cfg) as run:
        before = run.model.head.classifier.weight.detach().clone()
        for _ in range(4):  # an epoch has three
            run.step()
        assert (run.loop.epoch, run.loop.iter) == (1, 4)
        assert not torch.equal(before, run.model.head.classifier.weight)
        folder = cfg.work_dir
        assert os.path.isdir(folder)
    assert not os.path.exists(folder)


def test_real_images_where_there_are_some(data_root):
    changes, note = runs.dataset_config(str(data_root), False)
    if not (data_root / 'cifar-100-python').is_dir():
        pytest.skip('CIFAR-100 is not unpacked')
    assert changes['data_root'] == str(data_root)
    assert 'noise' not in note


def test_noise_where_there_are_none(tmp_path):
    changes, note = runs.dataset_config(str(tmp_path), False)
    assert changes == dict(type='NoiseLT')
    assert str(tmp_path) in note
