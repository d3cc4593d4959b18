"""What is read: checkpoints without code, the newest valid one, whether it fits the model and is of
this config.

Importing this module makes every ``torch.load`` of the process read tensors and plain types only,
and every checkpoint that MMEngine loads from this machine or by http go through
:func:`load_from_disk`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import zipfile
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor
from torch.optim import Optimizer

from bce3s.config import experiment
from bce3s.engine.run_state import bare_model
from bce3s.errors import BCE3SError
from bce3s.registry import HOOKS

RATE = 'optim_wrapper.optimizer.lr'
# keys of the length and of the learning rate
COURSE = re.compile(
    rf'{re.escape(RATE)}|optim_wrapper\.paramwise_cfg\..*|param_scheduler\b.*|'
    r'default_hooks\.schedule\..*|train_cfg\.(max_epochs|max_iters|finetune_epochs)'
)
MOST = 20  # keys that are written out
NOTHING = 'nothing'

os.environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', None)
os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'  # for what others load, torchvision's weights


# ------------------------------------------------------------ reading
@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_disk(filename: str | Path, map_location: Any = 'cpu') -> dict:
    """A checkpoint that holds tensors and plain types only; no code in it is ever run.

    Weights are under ``state_dict``, wherever the file has them: there, under ``model`` (DeiT), or
    at the top.

    Raises:
        BCE3SError: no such file; damaged, or not a checkpoint; or it holds other objects.
    """
    path = Path(filename).expanduser()
    checkpoint = _read(path, map_location=map_location)
    weights = checkpoint
    for key in ('model', 'state_dict'):
        weights = checkpoint.get(key, weights)
    if not isinstance(weights, dict) or not all(isinstance(v, Tensor) for v in weights.values()):
        raise BCE3SError(
            f'{path} holds no weights, which would be tensors by name, at the top, under '
            f'state_dict or under model; it has {", ".join(map(str, [*checkpoint][:5]))}.'
        )
    rest = {} if weights is checkpoint else checkpoint
    return {**rest, 'state_dict': weights}


def _read(path: Path, **options: Any) -> dict:
    """``torch.load`` of what has the checksums with which it was written, and is a dict."""
    if not path.is_file():
        raise BCE3SError(f'Checkpoint {path} does not exist. Check the path.')
    try:
        if zipfile.is_zipfile(path) and (record := zipfile.ZipFile(path).testzip()):
            raise ValueError(f'the checksum of its record {record} is wrong')
        checkpoint = torch.load(path, weights_only=True, **options)
        if not isinstance(checkpoint, dict):
            raise TypeError(f'it holds a value of type {type(checkpoint).__name__}')
    except Exception as error:  # a damaged file can raise anything
        unsafe = re.search(r'GLOBAL ([\w.]+\w)', str(error))
        text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        if isinstance(error, LookupError | AttributeError):  # of what torch makes of other files
            text = 'torch.save did not write it'
        reason = f'it names {unsafe[1]}' if unsafe else text
        raise BCE3SError(
            f'{path} cannot be read as a checkpoint of tensors and plain values ({reason}); '
            'nothing of it was run. It is damaged, or another kind of file: use an earlier '
            'checkpoint, or a file of weights.'
        ) from error
    return checkpoint


def is_damaged(path: Path) -> bool:
    """Whether a file is not, or no longer, what ``torch.save`` has written."""
    try:
        return zipfile.ZipFile(path).testzip() is not None
    except (zipfile.BadZipFile, EOFError, OSError):
        return True


@CheckpointLoader.register_scheme(prefixes=('http://', 'https://'), force=True)
def load_from_http(url: str, map_location: Any = 'cpu') -> dict:
    """Weights at an address (``load_from``), fetched once to torch's cache.

    Raises:
        BCE3SError: they cannot be fetched, or see :func:`load_from_disk`.
    """
    path = Path(torch.hub.get_dir(), 'checkpoints', Path(urlparse(url).path).name or 'weights')
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), progress=sys.stderr.isatty())
    except (OSError, ValueError) as error:  # of the network, or of the disk
        raise BCE3SError(f'{url} cannot be fetched to {path}: {error}.') from error
    return load_from_disk(path, map_location)


# ------------------------------------------------------------ which one
def survey(folder: str | Path) -> tuple[list[tuple[Path, tuple[int, int]]], dict[Path, BCE3SError]]:
    """The valid checkpoints of a run's folder, oldest first, each with its (serial, iteration); and
    of the others why they are not.

    ``serial`` counts the saves of a run, for no clock and no name tells which is newest: after
    ``--resume`` from an older file, those of the branch that was left hold more iterations.
    """
    valid, unfit = {}, {}
    for path in _candidates(Path(folder)):
        try:
            meta = _read(path, map_location='cpu', mmap=zipfile.is_zipfile(path)).get('meta')
            valid[path] = int(meta.get('serial', 0)), int(meta['iter'])
        except BCE3SError as error:
            unfit[path] = error
        except (AttributeError, KeyError, TypeError, ValueError):
            unfit[path] = BCE3SError(f'{path} does not say at which iteration it was written.')
    return sorted(valid.items(), key=itemgetter(1)), unfit


def _candidates(folder: Path) -> list[Path]:
    """Files that look like checkpoints to resume from, and the one that the run saved last, which
    may have another name. Its path may be stale, for folders are moved: only the name counts.
    """
    found = {path for path in folder.glob('*.pth') if re.match(r'(epoch|iter)_\d+\.pth', path.name)}
    if (pointer := folder / 'last_checkpoint').is_file():
        found.add(folder / Path(pointer.read_text(errors='replace').strip()).name)
    return sorted(path for path in found if path.is_file())


def resolve_checkpoint(work_dir: str | Path, resume: str | None) -> Path | None:
    """The checkpoint to resume from.

    ``resume`` is None (don't), a path, or ``'auto'``: the newest valid one in ``work_dir``, None if
    that holds none at all. What is passed over is logged with the reason.

    Raises:
        BCE3SError: the named file is missing or unfit; or all in ``work_dir`` are.
    """
    if resume is None:
        return None
    if resume != 'auto':
        path = Path(resume).expanduser()
        _check_resumable(path)
        return path
    valid, unfit = survey(work_dir)
    for path, _ in reversed(valid):
        try:
            _check_resumable(path)
        except BCE3SError as error:
            unfit[path] = error
        else:
            break
    else:
        path = None
    for error in unfit.values():
        print_log(f'Passed over: {error}', 'current', level=logging.WARNING)
    if path is None and unfit:
        raise BCE3SError(
            f'None of the checkpoints in {work_dir} can be resumed from '
            f'({", ".join(sorted(p.name for p in unfit))}). Name another with --resume PATH, or '
            'start again with --overwrite.'
        )
    return path


def _check_resumable(path: Path) -> None:
    checkpoint = load_from_disk(path)
    needed = ('meta', 'state_dict', 'message_hub', 'optimizer')
    held = {key for key, value in checkpoint.items() if isinstance(value, dict) and value}
    if missing := [key for key in needed if key not in held]:
        raise BCE3SError(
            f'{path} has no {", ".join(missing)}, so training cannot be resumed from it (a best_* '
            'checkpoint holds weights only). Resume from an epoch_*.pth, or start from its weights '
            f'with --cfg-options load_from={path}.'
        )


# ------------------------------------------------------------ does it fit
@HOOKS.register_module()
class CheckpointGuardHook(Hook):
    """Stops where a checkpoint does not fit the model; MMEngine loads what fits and warns.

    Args:
        ignore: prefixes of parameter and buffer names that may be missing, left over or of another
            shape.
    """

    priority = 'VERY_HIGH'

    def __init__(self, ignore: tuple[str, ...] | list[str] = ()) -> None:
        self.ignore = tuple(ignore)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        compare_states(bare_model(runner).state_dict(), checkpoint['state_dict'], self.ignore)


def compare_states(model: dict, saved: dict, ignore: tuple[str, ...] = ()) -> None:
    """Compares names and shapes of two state dicts; ``module.`` before a saved name counts not.

    Raises:
        BCE3SError: another number of classes (both are named), or another architecture (what
            differs is named).
    """
    saved = {name.removeprefix('module.'): value.shape for name, value in saved.items()}
    model = {name: value.shape for name, value in model.items()}
    names = [name for name in {**model, **saved} if not name.startswith(ignore)]
    missing = [name for name in names if name not in saved]
    extra = [name for name in names if name not in model]
    shapes = {
        name: (tuple(saved[name]), tuple(model[name]))
        for name in names
        if name in saved and name in model and saved[name] != model[name]
    }
    if not (missing or extra or shapes):
        return
    rows = {(*was[:1], *now[:1]) for was, now in shapes.values()}
    only_rows = all(was[1:] == now[1:] for was, now in shapes.values())
    in_head = not any(name.startswith(('backbone.', 'neck.')) for name in shapes)
    if only_rows and len(rows) == 1 and in_head and not (missing or extra):
        ((was, now),) = rows
        name, (old, new) = next(iter(shapes.items()))
        raise BCE3SError(
            f'The checkpoint was trained with {was} classes, this config has {now} ({name}: {old} '
            f'in the checkpoint, {new} in the model). Use the config it was trained with.'
        )
    differs = [
        f'{name}: {old} in the checkpoint, {new} here' for name, (old, new) in shapes.items()
    ]
    parts = [
        _named('missing in the checkpoint', missing),
        _named('unknown to the model', extra),
        _named('of another shape', differs),
    ]
    raise BCE3SError(
        'The checkpoint is of another architecture than this config: '
        f'{"; ".join(filter(None, parts))}. Use the config it was trained with.'
    )


def _named(what: str, names: list[str], most: int = 3) -> str:
    more = f', ... ({len(names)} in all)' if len(names) > most else ''
    return f'{what}: {", ".join(names[:most])}{more}' if names else ''


def check_optimizer(optimizer: Optimizer, saved: dict) -> None:
    """Whether ``saved`` is the state of ``optimizer`` on these parameters. torch looks at no
    shapes, and a fused step would read moments of another shape past their end.

    Raises:
        ValueError: a moment of another shape than its parameter, or other numbers of parameters.
        KeyError, TypeError: ``saved`` is no state of an optimiser.
    """
    for own, group in zip(optimizer.param_groups, saved['param_groups'], strict=True):
        for number, parameter in zip(group['params'], own['params'], strict=True):
            for key, value in saved['state'].get(number, {}).items():
                shape = getattr(value, 'shape', parameter.shape)  # None: without momentum
                if key != 'step' and shape != parameter.shape:
                    raise ValueError(
                        f'{key} of parameter {number} has the shape {tuple(shape)}, the parameter '
                        f'{tuple(parameter.shape)}'
                    )


@HOOKS.register_module()
class ResumedValidationHook(Hook):
    """Runs, after a resume, the validation due at the end of the epoch that the checkpoint holds.

    MMEngine saves an epoch's checkpoint before it validates, so a run stopped in between would
    never have that epoch's figures, and one stopped after its last epoch no report. A checkpoint
    within an epoch was written after the validation of the one before.
    """

    priority = 'LOWEST'

    def before_train(self, runner) -> None:
        epoch, loop = runner.epoch, runner.train_loop
        if epoch == 0 or runner.val_loop is None or epoch < loop.val_begin:
            return
        if getattr(loop, 'batches_done', 0):
            return
        if epoch % loop.val_interval == 0 or epoch >= loop.max_epochs:
            runner.val_loop.run()


# ------------------------------------------------------------ with which config
def changes(cfg: Config, meta: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Dotted key -> (value in the checkpoint, value here), as text, of what makes the experiment;
    ``meta.experiment`` has it as JSON, see :func:`as_json`.
    """
    if not meta.get('experiment'):  # of MMEngine, or without a config
        return {}
    was, now = (_flat(json.loads(text)) for text in (meta['experiment'], as_json(cfg)))
    keys = dict.fromkeys([*now, *was])
    pairs = {key: (was.get(key, NOTHING), now.get(key, NOTHING)) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def as_json(cfg: Config) -> str:
    """What makes the experiment of a config, to be kept in a checkpoint."""
    return json.dumps(
        experiment(cfg), default=lambda value: getattr(value, '__qualname__', type(value).__name__)
    )


def _flat(node: Any, path: str = '') -> dict[str, str]:
    """Dotted key -> text of the value; lists without dicts are values."""
    if isinstance(node, list) and any(isinstance(item, dict) for item in node):
        node = dict(enumerate(node))
    if not isinstance(node, dict) or not node:
        return {path: repr(node)}
    found = {}
    for key, child in node.items():
        found |= _flat(child, f'{path}.{key}' if path else str(key))
    return found


def take_over_rates(
    optim_wrapper: OptimWrapper,
    schedulers: Any,
    configured: list[float],
    constant: bool = False,
) -> bool:
    """A learning rate that was changed takes effect: what the schedule has made of the former is
    multiplied by the ratio of the new one to it.

    Args:
        optim_wrapper: after ``load_state_dict``; its groups know the rate they began with
            (``initial_lr``) where a schedule, ours or MMEngine's, changes it.
        schedulers: MMEngine's, or None.
        configured: of each group, as the config has it.
        constant: whether a group without ``initial_lr`` takes the configured rate too.

    Returns:
        Whether one was changed.
    """
    changed = False
    for i, (group, rate) in enumerate(zip(optim_wrapper.param_groups, configured, strict=True)):
        former = group.get('initial_lr', group['lr'] if constant else rate)
        if former == rate or not former:
            continue
        changed = True
        group['lr'] *= rate / former
        if 'initial_lr' in group:
            group['initial_lr'] = rate
        for scheduler in schedulers if isinstance(schedulers, list) else []:
            if scheduler.param_name == 'lr':
                scheduler.base_values[i] *= rate / former
    return changed


def check_course(changed: dict[str, tuple[str, str]], asked: list[str]) -> None:
    """Another length or learning rate must have been asked for by an option.

    Args:
        changed: as of :func:`changes`.
        asked: the ``--cfg-options`` of this call.

    Raises:
        BCE3SError: it was not; names the first such key, and both values.
    """
    keys = {option.partition('=')[0] for option in asked}
    if any(key.startswith('own_data.') for key in keys):  # from which much follows
        return
    for key, (was, now) in changed.items():
        if COURSE.fullmatch(key) and not any(key == k or key.startswith(f'{k}.') for k in keys):
            raise BCE3SError(
                f'The checkpoint was trained with {key}={was}, but this config has {now}: repeat '
                'the options that the run was begun with, resume in its own work dir, or say '
                '--changed to go on with this config.'
            )


def sentence(
    changed: dict[str, tuple[str, str]], seeds: tuple[Any, Any], rates_changed: bool
) -> str:
    """What to warn of, '' if nothing: ``changed`` as of :func:`changes`; seeds of the checkpoint
    and of this config.
    """
    parts = []
    for key, (was, now) in changed.items():
        note = ''
        if key == RATE or key.startswith('optim_wrapper.paramwise_cfg'):
            note = ' (takes effect)' if rates_changed else ''
        elif key.startswith('optim_wrapper.optimizer.'):
            note = " (the checkpoint's stays in force)"
        parts.append(f'{key}: {_short(was)} -> {_short(now)}{note}')
    if len(parts) > MOST:
        parts[MOST:] = [f'... ({len(parts)} in all)']
    if None not in seeds and seeds[0] != seeds[1]:
        parts.append(f"seed: {seeds[0]} -> {seeds[1]} (the checkpoint's stays in force)")
    if rates_changed and RATE not in changed:
        parts.append('the learning rate, scaled for another number of processes (takes effect)')
    if not parts:
        return ''
    return (
        'This run goes on with another config than its checkpoint has (there -> here): '
        f'{"; ".join(parts)}.'
    )


def _short(text: str, most: int = 80) -> str:
    return text if len(text) <= most else f'{text[: most - 3]}...'
