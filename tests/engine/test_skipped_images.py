"""Images that cannot be read are counted once, over epochs, resumes and processes, and reported."""

import itertools
import json

import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from PIL import Image
from torch import nn

from bce3s.datasets.image_folder import ImageFolder
from bce3s.engine.metric import LongTailedMetric
from bce3s.engine.report_hook import ReportHook
from bce3s.engine.saving import SafeCheckpointHook
from bce3s.engine.skipped_images import SKIPPED, SkippedImagesHook
from bce3s.errors import BCE3SError
from bce3s.registry import HOOKS

BAD = ('train/a/1.png', 'train/b/0.png', 'val/a/2.png')
COUNTER = itertools.count()


@pytest.fixture
def root(tmp_path):
    """Ten training images, two of which cannot be read; four to validate, of which one cannot."""
    rng = np.random.default_rng(0)
    for folder, number in {'train/a': 6, 'train/b': 4, 'val/a': 3, 'val/b': 1}.items():
        (tmp_path / folder).mkdir(parents=True)
        for i in range(number):
            pixels = rng.integers(0, 256, (10, 10, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f'{i}.png')
    for name in BAD:
        (tmp_path / name).write_bytes(b'')
    return tmp_path


class Toy(BaseModel):
    """Says class 0 of everything."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def train_step(self, data, optim_wrapper):
        loss = self.layer(data['inputs'].float().mean().view(1, 1)).sum() ** 2
        optim_wrapper.update_params(loss)
        return {'loss': loss.detach()}

    def val_step(self, data):
        rows = zip(data['data_samples']['indices'], data['data_samples']['labels'], strict=True)
        return [{'index': int(i), 'label': int(y), 'pred': 0} for i, y in rows]

    test_step = val_step

    def forward(self):
        raise NotImplementedError


def loader(root, split, unreadable, batch_size):
    dataset = ImageFolder(str(root), split, size=8, resize=8, check='none', unreadable=unreadable)
    if split == 'train':
        sampler = {
            'sampler': {'type': 'NaturalSampler', 'seed': 0},
            'batch_sampler': {'type': 'GlobalBatchSampler'},
            'batch_size': batch_size,
        }
    else:
        sampler = {'sampler': {'type': 'DefaultSampler', 'shuffle': False}, 'batch_size': 2}
    return {'dataset': dataset, 'collate_fn': {'type': 'default_collate'}, 'num_workers': 0,
            **sampler}  # fmt: skip


def make_runner(root, epochs=2, unreadable='skip', batch_size=4, work_dir='run', **kwargs):
    return Runner(
        model=Toy(),
        work_dir=str(root / work_dir),
        train_dataloader=loader(root, 'train', unreadable, batch_size),
        val_dataloader=loader(root, 'test', unreadable, batch_size),
        test_dataloader=loader(root, 'test', unreadable, batch_size),
        train_cfg={'by_epoch': True, 'max_epochs': epochs},
        val_cfg={},
        test_cfg={},
        val_evaluator=[LongTailedMetric()],
        test_evaluator=[LongTailedMetric()],
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}},
        custom_hooks=[SafeCheckpointHook(), ReportHook(), SkippedImagesHook()],
        default_scope='bce3s',
        experiment_name=f'skipped-{next(COUNTER)}',
        log_level='ERROR',
        **kwargs,
    )


def report(root, name='run/report.json'):
    return json.loads((root / name).read_text())


def warnings(runner):
    """What the hook said."""
    lines = []
    runner.logger.warning = lines.append
    return lines


def test_training_and_evaluation_are_counted(root):
    runner = make_runner(root)
    lines = warnings(runner)
    runner.train()
    assert runner.message_hub.get_info(SKIPPED) == {'train': 4}  # two images, two epochs
    found = report(root)
    assert found['skipped_images'] == {'train': 4, 'test': 1}
    assert found['samples'] == 3
    assert found['per_class'] == [100.0, 0.0]
    text = (root / 'run/report.md').read_text()
    assert 'an image that cannot be read was drawn 4 times' in text
    assert 'Not counted: 1 image of the test set that cannot be read.' in text
    named = [line for line in lines if 'is skipped' in line]
    assert sorted(named) == sorted(  # once, not in every epoch
        f'{root / name} of the {"test" if "val" in name else "train"} set cannot be read and is '
        'skipped.'
        for name in BAD
    )
    left_out = '1 of 4 images of the test set cannot be read and are left out of the figures.'
    assert lines.count(left_out) == 2


def test_a_resumed_run_counts_on(root):
    make_runner(root, epochs=1).train()
    runner = make_runner(root, epochs=3, resume=True, load_from=str(root / 'run/epoch_1.pth'))
    runner.train()
    assert runner.message_hub.get_info(SKIPPED) == {'train': 6}
    assert report(root)['skipped_images'] == {'train': 6, 'test': 1}


def test_a_count_before_a_checkpoint_within_an_epoch(root):
    """Whoever saves there calls ``before_saving``; nothing is counted twice."""
    runner = make_runner(root)
    (hook,) = (h for h in runner.hooks if isinstance(h, SkippedImagesHook))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    for indices, flags in (([3, 1], [False, True]), ([6, 2], [True, False])):
        batch = {'data_samples': {'indices': torch.tensor(indices), 'skipped': torch.tensor(flags)}}
        hook.after_train_iter(runner, 0, batch)
    runner.call_hook('before_saving')
    assert runner.message_hub.get_info(SKIPPED) == {'train': 2}
    hook.after_train_epoch(runner)
    assert runner.message_hub.get_info(SKIPPED) == {'train': 2}


def test_a_test_alone_knows_nothing_of_the_training(root):
    runner = make_runner(root)
    runner.test()
    assert report(root)['skipped_images'] == {'test': 1}


def test_nothing_is_counted_where_nothing_is_skipped(root):
    for name in BAD:
        (root / name).unlink()
    runner = make_runner(root, unreadable='stop')
    runner.train()
    assert runner.message_hub.get_info(SKIPPED, None) is None
    assert report(root)['skipped_images'] == {'test': 0}
    assert 'cannot be read' not in (root / 'run/report.md').read_text()
    hook = HOOKS.build({'type': 'SkippedImagesHook'})
    for batch in (None, {'inputs': 0}, {'data_samples': None}, {'data_samples': {'labels': 0}}):
        hook.after_train_iter(runner, 0, batch)
        hook.after_val_iter(runner, 0, batch)


def test_the_validation_set_is_checked_before_the_first_step(root, monkeypatch):
    """Data sets are built when the run begins, not when they are first asked for an image."""
    steps = []
    monkeypatch.setattr(Toy, 'train_step', lambda *_: steps.append(1))
    runner = make_runner(root)
    dataset = dict(type='ImageFolder', data_root=str(root), split='test', size=8, resize=8)
    runner._val_dataloader['dataset'] = dataset
    with pytest.raises(BCE3SError, match=r'val/a/2\.png: is empty'):
        runner.train()
    assert not steps


def train_share(rank, root):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{root}/meet', rank=rank, world_size=2
    )
    runner = make_runner(root, batch_size=2)
    lines = warnings(runner)
    runner.train()
    named = [line for line in lines if 'train/' in line]
    found = [runner.message_hub.get_info(SKIPPED)['train'], len(named)]
    torch.save(found, root / f'{rank}.pt')
    torch.distributed.destroy_process_group()


def test_two_processes_count_what_one_counts(root):
    torch.multiprocessing.start_processes(train_share, (root,), nprocs=2, start_method='spawn')
    for rank in (0, 1):
        assert torch.load(root / f'{rank}.pt', weights_only=True) == [4, 2]
    assert report(root)['skipped_images'] == {'train': 4, 'test': 1}
    assert report(root)['samples'] == 3
