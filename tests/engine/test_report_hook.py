"""The report of small real runs: history, best epoch, resume, test, stages."""

import itertools
import json

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from bce3s.engine.checkpoint import ResumedValidationHook
from bce3s.engine.metric import LongTailedMetric
from bce3s.engine.report_hook import HISTORY, ReportHook, config_digest
from bce3s.engine.saving import SafeCheckpointHook
from bce3s.engine.schedule import TwoStageHook
from bce3s.errors import BCE3SError

COUNTS = [150, 50, 5]
SUBSET = {'rule': 'ldam', 'imbalance': 'exp', 'imbalance_factor': 30, 'sha256': 'f00'}


class ToyData(Dataset):
    metainfo = {
        'dataset': 'Toy',
        'split': 'test',
        'classes': ['a', 'b', 'c'],
        'class_counts': COUNTS,
        'subset': SUBSET,
    }

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return {'inputs': torch.ones(1), 'data_samples': {'labels': index % 3, 'indices': index}}


class ToyModel(BaseModel):
    """After e + 1 epochs it knows the first ``script[e]`` of the classes (without, with TTA)."""

    def __init__(self, script):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.register_buffer('trained', torch.zeros((), dtype=torch.long))
        self.script = script
        self.finetuning = False

    def finetune_classifier(self, freeze_norm):
        self.finetuning = True

    def train_step(self, data, optim_wrapper):
        self.trained += 1  # one step an epoch
        loss = self.layer(torch.ones(1, 1)).sum() ** 2
        optim_wrapper.update_params(loss)
        return {'loss': loss.detach()}

    def val_step(self, data):
        right, flipped = self.script[int(self.trained) - 1]
        rows = zip(data['data_samples']['indices'], data['data_samples']['labels'], strict=True)
        return [
            {
                'index': int(i),
                'label': int(y),
                'pred': int(y) if y < right else (int(y) + 1) % 3,
                'pred_flip_tta': int(y) if y < flipped else (int(y) + 1) % 3,
            }
            for i, y in rows
        ]

    test_step = val_step

    def forward(self, *args, **kwargs):
        raise NotImplementedError


SCRIPT = [(1, 1), (3, 2), (3, 3), (2, 3)]  # All: 33.3, 100, 100, 66.7
THIRD = 100 / 3


def loader(shuffle=False):
    sampler = {'type': 'DefaultSampler', 'shuffle': shuffle}
    return {'batch_size': 6, 'num_workers': 0, 'dataset': ToyData(), 'sampler': sampler,
            'collate_fn': {'type': 'default_collate'}}  # fmt: skip


COUNTER = itertools.count()


def make_runner(
    work_dir,
    epochs=4,
    metric=LongTailedMetric,
    seed=3,
    hooks=(),
    best='all',
    model=ToyModel,
    second=0,
    **kwargs,
):
    return Runner(
        model=model(SCRIPT),
        work_dir=str(work_dir),
        train_dataloader=loader(),
        val_dataloader=loader(),
        test_dataloader=loader(),
        train_cfg=dict(type='ResumableTrainLoop', max_epochs=epochs, finetune_epochs=second),
        val_cfg={},
        test_cfg={},
        val_evaluator=[metric()] if metric else [],
        test_evaluator=[LongTailedMetric()],
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}},
        default_hooks={
            'checkpoint': {
                'type': 'CheckpointHook',
                'interval': 1,
                'save_best': best,
                'rule': 'greater',
            }
        },
        custom_hooks=[SafeCheckpointHook(), *hooks, ReportHook()],
        randomness={'seed': seed},
        default_scope='bce3s',
        experiment_name=f'test_report_hook_{next(COUNTER)}',
        log_level='WARNING',
        **kwargs,
    )


def read(directory):
    return json.loads((directory / 'report.json').read_text())


def without_digest(report):  # it holds addresses of the objects that this test's config has
    return {key: value for key, value in report.items() if key != 'config_sha256'}


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp('run')
    runner = make_runner(directory)
    runner.train()
    return directory, runner


def test_report_of_a_run(finished):
    directory, _ = finished
    report = read(directory)
    assert [round(r['all'], 1) for r in report['history']] == [33.3, 100.0, 100.0, 66.7]
    assert (report['epoch'], report['selection'], report['tta']) == (4, 'last', False)
    assert report['per_class'] == [100.0, 100.0, 0.0]
    assert (report['many'], report['medium'], report['few']) == (100.0, 100.0, 0.0)
    assert (report['seed'], report['max_epochs'], report['subset']) == (3, 4, SUBSET)
    others = [(e['selection'], e['tta'], e['epoch']) for e in report['other']]
    assert others == [('last', True, 4), ('best on test', False, 2), ('best on test', True, 3)]
    assert {'bce3s', 'torch', 'torchvision', 'mmengine', 'mmpretrain', 'numpy', 'python'} <= set(
        report['versions']
    )
    assert str(directory) not in (directory / 'report.json').read_text()
    assert (directory / 'report.md').exists()
    assert (directory / 'report.png').exists()


def test_save_best_works_and_knows_its_own_validation(finished):
    directory, _ = finished
    path = directory / 'best_all_epoch_2.pth'  # the earliest of the equals, as in the report
    checkpoint = torch.load(path, weights_only=True)
    history = checkpoint['message_hub']['runtime_info'][HISTORY]
    assert [row['epoch'] for row in history] == [1, 2]


@pytest.mark.parametrize(('stopped', 'known'), [(2, [1, 2]), (3, [1, 2]), (4, [1, 2, 3])])
def test_resumed_run_has_the_same_report(finished, tmp_path, stopped, known):
    # A checkpoint is saved before its epoch is validated, and again if that is the best so far.
    path = str(finished[0] / f'epoch_{stopped}.pth')
    hub = torch.load(path, weights_only=True)['message_hub']
    rows = hub['runtime_info'][HISTORY]
    assert [row['epoch'] for row in rows] == known
    make_runner(tmp_path, hooks=[ResumedValidationHook()], resume=True, load_from=path).train()
    assert without_digest(read(tmp_path)) == without_digest(read(finished[0]))


def test_an_epoch_validated_again_is_one_row(finished):
    directory, runner = finished
    before = read(directory)
    runner.val_loop.run()
    assert read(directory) == before


def test_a_report_is_there_after_the_first_validation(tmp_path):
    seen = []

    class Killer(ReportHook):
        priority = 'LOWEST'

        def after_val_epoch(self, runner, metrics=None):
            seen.append(read(tmp_path)['epoch'])
            raise KeyboardInterrupt

        def after_train(self, runner):
            pytest.fail('the run was to be killed')

    with pytest.raises(KeyboardInterrupt):
        make_runner(tmp_path, hooks=[Killer()]).train()
    assert seen == [1]


@pytest.mark.parametrize(
    ('name', 'epoch', 'selection', 'figure'),
    [
        ('epoch_3.pth', 3, 'last', 100.0),
        ('epoch_1.pth', 1, 'last', THIRD),
        ('best_all_epoch_2.pth', 2, 'best on test', 100.0),
    ],
)
def test_test_reports_its_checkpoint(finished, tmp_path, name, epoch, selection, figure):
    runner = make_runner(tmp_path, load_from=str(finished[0] / name))
    runner.test()
    report = read(tmp_path)
    assert (report['epoch'], report['selection'], report['tta']) == (epoch, selection, False)
    assert report['all'] == pytest.approx(figure)
    # nothing was picked from other epochs here
    assert [(e['selection'], e['tta']) for e in report['other']] == [(selection, True)]
    assert report['subset'] == SUBSET


def test_validation_alone_is_a_test(finished, tmp_path):
    make_runner(tmp_path, load_from=str(finished[0] / 'epoch_1.pth'), best=None).val()
    assert read(tmp_path)['epoch'] == 1
    assert read(tmp_path)['max_epochs'] is None


def test_stages_follow_the_schedule_across_a_resume(tmp_path):
    def hooks():
        return [TwoStageHook(), ResumedValidationHook()]

    make_runner(tmp_path / 'whole', hooks=hooks(), second=2).train()
    whole = read(tmp_path / 'whole')
    assert [row['stage'] for row in whole['history']] == [1, 1, 2, 2]
    assert (whole['other'][-1]['selection'], whole['other'][-1]['epoch']) == ('stage 1', 2)
    for epoch in (2, 3):  # the model learns only after the validation that the stage has begun
        path = str(tmp_path / 'whole' / f'epoch_{epoch}.pth')
        make_runner(tmp_path / 'on', hooks=hooks(), second=2, resume=True, load_from=path).train()
        assert without_digest(read(tmp_path / 'on')) == without_digest(whole)


def test_a_finished_run_that_is_extended_keeps_the_stage_of_its_last_epoch(tmp_path):
    """By the longer schedule it would be one of the first stage."""

    class Saved(TwoStageHook):  # the model here is a stand-in, which this hook does not switch
        def before_save_checkpoint(self, runner, checkpoint):
            checkpoint['meta']['stage'] = 1 + (runner.epoch >= self.epochs(runner))

    def hooks():
        return [Saved(), ResumedValidationHook()]

    make_runner(tmp_path, epochs=2, hooks=hooks(), second=1).train()
    path = str(tmp_path / 'epoch_2.pth')
    make_runner(tmp_path, epochs=3, hooks=hooks(), second=1, resume=True, load_from=path).train()
    assert [row['stage'] for row in read(tmp_path)['history']] == [1, 2, 2]


def test_without_a_schedule_the_stage_is_the_models(tmp_path):
    runner = make_runner(tmp_path, epochs=1)
    runner.model.finetuning = True
    runner.train()
    assert read(tmp_path)['stage'] == 2


def test_table_is_printed_at_the_end(tmp_path, monkeypatch):
    runner = make_runner(tmp_path)
    lines = []
    monkeypatch.setattr(runner.logger, 'info', lines.append)
    runner.train()
    printed = [line for line in lines if 'best on test + flip TTA' in line]
    assert len(printed) == 1
    assert 'report.md' in printed[0]


def test_an_evaluator_without_the_metric_is_a_sentence(tmp_path):
    class Other(LongTailedMetric.__base__):
        def process(self, data_batch, data_samples):
            self.results.append(1)

        def compute_metrics(self, results):
            return {'all': 1.0}

    with pytest.raises(BCE3SError, match='LongTailedMetric'):
        make_runner(tmp_path, metric=Other).train()


def test_a_model_without_scores_has_no_rejection(finished):
    assert read(finished[0])['rejection'] is None
    assert 'None of these' not in (finished[0] / 'report.md').read_text()


def test_digest_ignores_seed_and_place_only():
    config = {'model': {'r': 0.4}, 'randomness': {'seed': 0}, 'work_dir': 'a', 'load_from': None}
    other = {**config, 'randomness': {'seed': 1}, 'work_dir': 'b', 'load_from': 'x.pth'}
    assert config_digest(config) == config_digest(other)
    assert config_digest(config) != config_digest({**config, 'model': {'r': 0.5}})
