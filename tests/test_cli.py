"""The command line: mistakes end as sentences, flags do what they say, nothing written is lost."""

import errno
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from torch import nn

from bce3s import arguments, cli
from bce3s.config.keys import arguments as arguments_of
from bce3s.errors import BCE3SError
from bce3s.registry import DATASETS, HOOKS, MODELS

ROOT = Path(__file__).parents[1]
CONFIG = """
_width = 3
default_scope = 'bce3s'
model = dict(type='CliToy', width=_width)
train_dataloader = dict(
    batch_size=2,
    dataset=dict(type='CliRows', size=8),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
)
train_cfg = dict(by_epoch=True, max_epochs=2)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', interval=1, backend_args=dict(backend='atomic')),
    safe_checkpoint=dict(type='SafeCheckpointHook'),
    checkpoint_guard=dict(type='CheckpointGuardHook'),
    non_finite=dict(type='NonFiniteLossHook'),
)
custom_hooks = [dict(type='EmptyCacheHook', after_epoch=True)]
randomness = dict(seed=0)
log_level = 'ERROR'
"""


@MODELS.register_module()
class CliToy(BaseModel):
    def __init__(self, width=3, precision='fp32', poison=False):
        super().__init__()
        self.layer = nn.Linear(1, width)
        self.precision, self.poison = precision, poison

    def forward(self, inputs, mode='loss'):
        loss = self.layer(inputs).pow(2).mean()
        return dict(loss=loss * float('nan') if self.poison else loss)


@DATASETS.register_module()
class CliRows(torch.utils.data.Dataset):
    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, i):
        return dict(inputs=torch.ones(1))


@pytest.fixture
def config(tmp_path):
    def write(text='', name='toy.py'):
        path = tmp_path / name
        path.write_text(CONFIG + text)
        return str(path)

    return write


@pytest.fixture
def call(config, tmp_path, capsys):
    """Runs train.py in this process; gives its exit status and what it wrote to stderr."""

    def run(*args, text='', work='work'):
        options = ['--cfg-options', f'experiment_name={uuid.uuid4().hex}']
        if '--cfg-options' in args:
            args, options = list(args), options[1:]
        command = [config(text), '--work-dir', str(tmp_path / work), *args, *options]
        status = cli.main('train', command)
        return status, capsys.readouterr().err

    return run


# ------------------------------------------------------------ arguments
@pytest.mark.parametrize('tool', ['train', 'test'])
def test_help_imports_no_torch(tool):
    code = (
        f'import sys; sys.path.insert(0, {str(ROOT)!r})\n'
        'from bce3s import cli\n'
        f'try: cli.main({tool!r}, ["--help"])\n'
        'except SystemExit as e: assert e.code == 0\n'
        'heavy = {"torch", "numpy", "mmengine", "mmpretrain"} & set(sys.modules)\n'
        'assert not heavy, heavy\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '--launcher' in done.stdout


def test_the_tool_runs_from_any_folder(tmp_path):
    command = [sys.executable, str(ROOT / 'tools' / 'train.py'), 'missing.py']
    environment = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 1
    assert done.stderr.startswith('error: Config file missing.py does not exist')
    assert 'Traceback' not in done.stderr


# ------------------------------------------------------------ config keys
def test_unknown_top_level_key(config):
    path = config('optim_wraper = dict()\n')
    line = 1 + CONFIG.count('\n')
    with pytest.raises(
        BCE3SError, match=rf"{re.escape(path)}:{line}: .*'optim_wraper'.*mean 'optim_wrapper'"
    ):
        cli.load_config(path, [])


def test_unknown_key_of_a_base_is_found_there(config, tmp_path):
    base = config('trian_cfg = 1\n', 'base.py')
    leaf = tmp_path / 'leaf.py'
    leaf.write_text("_base_ = './base.py'\n\ntrain_cfg = dict(max_epochs=3)\n")
    with pytest.raises(BCE3SError, match=rf"{re.escape(base)}:\d+: .*'trian_cfg'.*'train_cfg'"):
        cli.load_config(str(leaf), [])


def test_own_variables_and_optional_keys_are_accepted(config):
    cfg = cli.load_config(config('find_unused_parameters = True\nload_from = None\n'), [])
    assert cfg.model.width == cfg._width == 3


@pytest.mark.parametrize(
    ('option', 'sentence'),
    [
        ('modle.width=3', "the config has no key 'modle'.*mean 'model'"),
        ('model.widht=3', "model has no key 'widht'.*mean 'width'"),
        ('train_cfg.max_epoch=3', "train_cfg has no key 'max_epoch'.*mean 'max_epochs'"),
        ('train_dataloader.num_worker=1', "no key 'num_worker'.*mean 'num_workers'"),
        ('train_dataloader.dataset.sizes=1', "no key 'sizes'.*mean 'size'"),
        ('optim_wrapper.optimizer.momentun=0', "no key 'momentun'.*mean 'momentum'"),
        ('optim_wrapper.clip_grd.max_norm=1', "no key 'clip_grd'.*mean 'clip_grad'"),
        ('default_hooks.checkpoint.intervl=1', "no key 'intervl'.*mean 'interval'"),
        ('custom_hooks.1.after_iter=1', 'custom_hooks is a list of 1'),
        ('custom_hooks.0.after_itr=1', "custom_hooks.0 has no key 'after_itr'.*'after_iter'"),
        ('model.width.x=1', 'model.width is 3 and has no keys'),
        ('model.width', 'write KEY=VALUE'),
        ('model.width=[1,2', 'is no Python value'),
    ],
)
def test_misspelt_options(config, option, sentence):
    with pytest.raises(BCE3SError, match=sentence):
        cli.load_config(config(), [option])


def test_an_option_may_follow_the_type_that_takes_it():
    options = ['model.backbone.type=CIFARResNet', 'model.backbone.width=4']
    cfg = cli.load_config('configs/bce3s/ablation/cifar100lt_if100_bce_joint.py', options)
    assert cfg.model.backbone.width == 4
    with pytest.raises(BCE3SError, match="no key 'width'"):
        cli.load_config('configs/bce3s/ablation/cifar100lt_if100_bce_joint.py', options[1:])


def test_good_options(config):
    cfg = cli.load_config(
        config(),
        [
            'model.width=5',
            'model.precision=bf16',  # new: an argument of the class
            'train_dataloader.num_workers=1',
            'optim_wrapper.clip_grad.max_norm=5',
            'optim_wrapper.optimizer.momentum=0.9',
            'default_hooks.checkpoint.priority=LOW',
            'default_hooks.measures.type=FeatureMeasuresHook',  # a hook of its own
            'custom_hooks.0.after_iter=True',
            'randomness.seed=4',
            'auto_scale_lr.enable=True',
        ],
    )
    assert (cfg.model.width, cfg.model.precision) == (5, 'bf16')
    assert cfg.optim_wrapper.clip_grad.max_norm == 5
    assert cfg.custom_hooks[0] == dict(type='EmptyCacheHook', after_epoch=True, after_iter=True)
    assert cfg.randomness.seed == 4


def test_arguments_follow_kwargs_to_the_base_class():
    class Base:
        def __init__(self, a):
            pass

    class Child(Base):
        def __init__(self, b, **kwargs):
            pass

    class Open:
        def __init__(self, c, **kwargs):
            pass

    assert arguments_of(Child) == ({'a', 'b'}, False)
    assert arguments_of(Open) == ({'c'}, True)


# ------------------------------------------------------------ whole runs
def test_unknown_argument_and_type_in_the_config(call):
    status, error = call(text="model = dict(type='CliToy', widht=4)\n")
    assert status == 1
    assert "CliToy takes no argument 'widht'" in error
    assert "'width'" in error
    assert 'toy.py:' in error
    status, error = call(text="model = dict(type='CliTo', width=4)\n")
    assert status == 1
    assert "no model is called 'CliTo'. Did you mean 'CliToy'?" in error
    status, error = call(text="custom_hooks = [dict(type='EmptyCasheHook')]\n")
    assert "no hook is called 'EmptyCasheHook'. Did you mean 'EmptyCacheHook'?" in error
    assert 'Traceback' not in error


def test_an_argument_of_the_loop_is_explained_too(call):
    status, error = call(text='train_cfg = dict(by_epoch=True, max_epochs=2, val_intervall=1)\n')
    assert status == 1
    assert "train_cfg has no key 'val_intervall'. Did you mean 'val_interval'?" in error


def test_other_errors_keep_their_traceback(call, monkeypatch):
    monkeypatch.setattr(CliRows, '__getitem__', lambda *_: {}['no such sample'])
    with pytest.raises(KeyError, match='no such sample'):
        call()


def test_an_error_of_ours_inside_training(call):
    status, error = call('--cfg-options', 'model.poison=True')
    assert status == 1
    assert error.startswith('error: The loss is not finite in epoch 1, iteration 1: loss = nan')


def test_the_work_dir_is_not_overwritten_unasked(call, tmp_path):
    assert call()[0] == 0
    work = tmp_path / 'work'
    before = {p: p.read_bytes() for p in work.glob('*.pth')}
    assert len(before) == 2
    status, error = call('--cfg-options', 'model.width=9')
    assert status == 1
    assert 'already holds checkpoints' in error
    assert '--resume' in error
    assert {p: p.read_bytes() for p in work.glob('*.pth')} == before
    status, error = call('--overwrite', '--cfg-options', 'train_cfg.max_epochs=1')
    assert (status, error) == (0, '')
    assert [p.name for p in work.glob('*.pth')] == ['epoch_1.pth']


def test_resume_goes_on_where_it_stopped(call, tmp_path):
    assert call(work='whole')[0] == 0
    assert call('--cfg-options', 'train_cfg.max_epochs=1')[0] == 0
    assert call('--resume', '--cfg-options', 'train_cfg.max_epochs=2')[0] == 0
    whole, resumed = (
        torch.load(tmp_path / d / 'epoch_2.pth', weights_only=True) for d in ('whole', 'work')
    )
    assert torch.equal(whole['state_dict']['layer.weight'], resumed['state_dict']['layer.weight'])
    assert resumed['meta']['epoch'] == 2
    assert not list((tmp_path / 'work').glob('.*.tmp'))


def test_resume_alone_keeps_the_options_that_the_run_was_begun_with(call, tmp_path):
    options = ('--cfg-options', 'train_cfg.max_epochs=1', 'optim_wrapper.optimizer.lr=0.125')
    assert call(*options)[0] == 0
    assert call('--resume')[0] == 0
    assert not (tmp_path / 'work' / 'epoch_2.pth').exists()
    assert call('--resume', '--cfg-options', 'train_cfg.max_epochs=3')[0] == 0
    last = torch.load(tmp_path / 'work' / 'epoch_3.pth', weights_only=True)
    assert last['optimizer']['param_groups'][0]['lr'] == 0.125


def test_a_dry_run_fetches_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main('train', ['configs/bce3s/cifar100lt_if100_r32.py', '--dry-run']) == 1
    assert re.search(r'error: data/cifar-100-\w+/\S+ is missing', capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_another_length_or_rate_than_the_checkpoints_is_asked_for(call, tmp_path):
    assert call('--cfg-options', 'optim_wrapper.optimizer.lr=0.125')[0] == 0
    first = str(tmp_path / 'work' / 'epoch_1.pth')
    status, error = call('--resume', first, work='elsewhere')
    assert status == 1
    assert 'optim_wrapper.optimizer.lr=0.125, but this config has' in error
    assert call('--resume', first, '--changed', work='elsewhere')[0] == 0
    same = ('--cfg-options', 'optim_wrapper.optimizer.lr=0.125')
    assert call('--resume', first, *same, work='another')[0] == 0


def test_a_call_that_fails_leaves_the_config_that_the_run_was_begun_with(call, tmp_path):
    assert call('--cfg-options', 'train_cfg.max_epochs=2')[0] == 0
    before = (tmp_path / 'work' / 'toy.py').read_text()
    assert call('--resume', '--cfg-options', 'train_cfg.max_epochs=1')[0] == 1
    assert call('--resume', '--cfg-options', 'model.width=7')[0] == 1
    assert (tmp_path / 'work' / 'toy.py').read_text() == before
    assert call('--resume', '--cfg-options', 'train_cfg.max_epochs=3')[0] == 0
    assert 'max_epochs=3' in (tmp_path / 'work' / 'toy.py').read_text()


def test_a_work_dir_that_is_removed_under_the_run_is_said(call, tmp_path):
    text = (
        "default_hooks['logger'] = dict(type='LoggerHook', interval=1)\n"
        "custom_hooks = [dict(type='CliRemoval')]\n"
    )
    status, error = call(text=text)
    assert status == 1
    assert f'error: {tmp_path}/work was removed or moved while this run wrote to it' in error
    assert 'Traceback' not in error


def test_resume_with_nothing_there_says_so_and_starts(call, tmp_path):
    status, _ = call('--resume', text="log_level = 'WARNING'\n")
    assert status == 0
    assert (tmp_path / 'work' / 'epoch_2.pth').exists()
    log = next((tmp_path / 'work').rglob('*.log')).read_text()
    assert 'holds no checkpoint yet, there is nothing to resume' in log


def test_resume_from_a_missing_or_other_checkpoint(call, tmp_path):
    status, error = call('--resume', str(tmp_path / 'none.pth'))
    assert status == 1
    assert 'none.pth does not exist' in error
    assert call()[0] == 0
    status, error = call('--resume', '--cfg-options', 'model.width=9')
    assert status == 1
    assert re.search('9', error)
    assert 'layer.weight: (3, 1) in the checkpoint' in error


def test_flags_reach_the_config(config):
    args = cli.parser('train').parse_args([config(), '--amp', '--seed', '7'])
    cfg = cli.train_config(args)
    assert (cfg.model.precision, cfg.randomness.seed) == ('bf16', 7)
    assert cfg.work_dir == os.path.join('work_dirs', 'toy')


def test_test_needs_a_checkpoint_that_exists(config, capsys):
    assert cli.main('test', [config(), 'nowhere.pth']) == 1
    assert 'nowhere.pth does not exist' in capsys.readouterr().err


def test_a_near_miss_is_found_where_anything_is_taken(config):
    """CheckpointHook keeps ``**kwargs`` and would fail at the first save, an epoch later."""
    text = "default_hooks = dict(checkpoint=dict(type='CheckpointHook', intervall=2))\n"
    with pytest.raises(
        BCE3SError, match=r"toy\.py:\d+: CheckpointHook takes no argument 'intervall'"
    ):
        cli.load_config(config(text), [])


def test_launcher_without_its_environment(call, monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    status, error = call('--launcher', 'pytorch')
    assert status == 1
    assert 'needs RANK, WORLD_SIZE, LOCAL_RANK. Start with tools/dist_train.sh' in error


# ------------------------------------------------------------ lr, restarts, stops, full disks
def test_auto_scale_lr(call, tmp_path):
    status, error = call('--auto-scale-lr')
    assert status == 1
    assert re.search(r'toy\.py does not say .* set auto_scale_lr\.base_batch_size', error)
    text = 'auto_scale_lr = dict(enable=False, base_batch_size=8)\n'
    assert call('--auto-scale-lr', text=text)[0] == 0
    saved = torch.load(tmp_path / 'work' / 'epoch_2.pth', weights_only=True)
    assert saved['optimizer']['param_groups'][0]['lr'] == pytest.approx(0.1 * 2 / 8)


def test_a_restart_by_torchrun_resumes(call, tmp_path, monkeypatch):
    assert call(work='whole')[0] == 0
    assert call('--cfg-options', 'train_cfg.max_epochs=1')[0] == 0
    status, error = call()
    assert status == 1
    assert 'already holds checkpoints' in error
    before = (tmp_path / 'work' / 'epoch_1.pth').read_bytes()
    monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', '1')
    assert call('--overwrite', '--cfg-options', 'train_cfg.max_epochs=2')[0] == 0
    assert (tmp_path / 'work' / 'epoch_1.pth').read_bytes() == before
    whole, resumed = (
        torch.load(tmp_path / d / 'epoch_2.pth', weights_only=True) for d in ('whole', 'work')
    )
    assert torch.equal(whole['state_dict']['layer.weight'], resumed['state_dict']['layer.weight'])
    assert call(work='fresh')[0] == 0  # nothing to resume from yet


@HOOKS.register_module()
class CliRemoval(Hook):
    """Somebody removes the work dir after the second iteration."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 1:
            shutil.rmtree(runner.work_dir)


@HOOKS.register_module()
class CliSignal(Hook):
    """Asks the run to stop after its second iteration."""

    def __init__(self, name='SIGTERM'):
        self.number = signal.Signals[name]

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 1:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(('name', 'expected'), [('SIGTERM', 0), ('SIGHUP', 0), ('SIGINT', 130)])
def test_a_stop_ends_in_a_sentence(config, tmp_path, capsys, name, expected):
    options = ['--cfg-options', f'experiment_name={uuid.uuid4().hex}']
    path = config(
        "default_hooks['checkpoint'] = dict(type='RunCheckpointHook')\n"
        f"custom_hooks = [dict(type='CliSignal', name='{name}')]\n"
    )
    work = tmp_path / 'work'
    before = signal.getsignal(signal.SIGTERM)
    assert cli.main('train', [path, '--work-dir', str(work), *options]) == expected
    assert signal.getsignal(signal.SIGTERM) is before
    out, err = capsys.readouterr()
    assert not err
    assert out.splitlines()[-1] == (
        f'Stopped by {name} in epoch 1 after iteration 2; saved {work}/iter_2.pth; continue with '
        '--resume.'
    )


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_whatever_writes_to_a_full_disk_ends_in_a_sentence(call, tmp_path, monkeypatch, number):
    """Here the log file, in which logging itself would print a traceback for every line."""

    def full(_handler):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(logging.FileHandler, 'flush', full)
    status, error = call(text="log_level = 'INFO'\n")
    assert status == 1
    assert error.count('\n') == 1
    assert f'{tmp_path / "work"} cannot be written to ({os.strerror(number)})' in error
    assert 'continue with --resume' in error


def test_a_writing_thread_leaves_the_word_to_the_run():
    code = (
        f'import sys, threading; sys.path.insert(0, {str(ROOT)!r})\n'
        'from bce3s.files import hush_writers\n'
        'def fail(error): raise error\n'
        'hush_writers()\n'
        'for error in (OSError(28, "full"), OSError(2, "missing")):\n'
        '    threading.Thread(target=fail, args=(error,)).start()\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert 'full' not in done.stderr
    assert 'missing' in done.stderr


def test_other_errors_of_files_are_not_called_a_full_disk(call, monkeypatch):
    monkeypatch.setattr(cli, '_train', lambda *_: Path('/nowhere/at/all').read_text())
    with pytest.raises(FileNotFoundError):
        call()


def test_a_stop_at_start_up_that_somebody_swallows_is_one(call, monkeypatch):
    """MMEngine formats a config under a bare `except:`, which makes any exception a SyntaxError."""

    def start_up(*_):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        except BaseException:
            raise SyntaxError('cannot format the config') from None

    monkeypatch.setattr(cli, '_train', start_up)
    status, _ = call()
    assert status == 0


@pytest.mark.parametrize('work', ['file', 'file/below'])
def test_a_work_dir_that_cannot_be_made(call, tmp_path, work):
    (tmp_path / 'file').write_text('')
    status, error = call(work=work)
    assert status == 1
    assert re.search(r'^error: \S+ is no folder that can be written to .*--work-dir', error)
    assert 'Traceback' not in error


def test_a_checkpoint_beyond_the_end(call):
    assert call(text='train_cfg = dict(by_epoch=True, max_epochs=3)\n')[0] == 0
    status, error = call('--resume', '--cfg-options', 'train_cfg.max_epochs=1')
    assert status == 1
    assert 'saved in epoch 3, but this run has 1: there is nothing to train' in error


def test_a_report_that_cannot_be_written_ends_in_a_sentence(config, tmp_path, capsys):
    checkpoint, taken = tmp_path / 'a.pth', tmp_path / 'file'
    checkpoint.touch()
    taken.touch()
    text = 'val_dataloader = train_dataloader\nval_cfg = dict()\nval_evaluator = []\n'
    arguments = [config(text), str(checkpoint), '--work-dir', str(taken / 'below')]
    assert cli.main('test', arguments) == 1
    assert 'no folder that can be written to' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('error', 'said'),
    [
        (BrokenPipeError(), ''),
        (OSError(errno.ENOSPC, 'No space left on device'), 'No space left'),
        (OSError(errno.ENAMETOOLONG, 'File name too long', 'x'), 'File name too long: x'),
    ],
)
def test_output_that_nobody_takes_and_names_that_are_none(capsys, monkeypatch, error, said):
    monkeypatch.setattr(arguments, '_drop_output', lambda: None)  # pytest's own

    def action():
        raise error

    assert arguments.status_of(action) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize('name', ['picz', 'no/pictures', 'list.csv'])
def test_images_that_are_not_there(tmp_path, monkeypatch, capsys, name):
    """Said before anything else, also where the work dir holds another run."""
    monkeypatch.chdir(tmp_path)
    work = tmp_path / 'work_dirs' / Path(name).stem
    work.mkdir(parents=True)
    (work / 'epoch_1.pth').write_bytes(b'')
    assert cli.main('train', [name]) == 1
    said = f'error: There is no folder of images, list or config {name}. Check the path.\n'
    assert capsys.readouterr().err == said


def test_a_misspelt_config(capsys):
    assert cli.main('train', ['configs/bce3s/digit.py']) == 1
    assert 'Did you mean configs/bce3s/digits.py?' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('options', 'network'),
    [
        (['own_data.epochs=20'], 'tf_efficientnet_lite0.in1k'),
        (['own_data.backbone=resnet18.a1_in1k'], 'resnet18.a1_in1k'),
        (['own_data.network=cifar_resnet20'], None),
        (['own_data.pretrained=FILE'], None),
    ],
)
def test_only_another_network_keeps_own_images_from_the_weights_at_hand(
    options, network, tmp_path, monkeypatch
):
    monkeypatch.setattr('bce3s.models.backbones.timm_backbone.cached_weights', bool)
    args = cli.parser('train').parse_args([str(tmp_path), '--cfg-options', *options])
    chosen = cli.train_config(args).own_data.get('backbone')
    assert chosen == network
