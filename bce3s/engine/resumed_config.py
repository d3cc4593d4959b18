"""A run that is resumed with another config than it was begun with is told so."""

from __future__ import annotations

import ast
import re
from typing import Any

from mmengine.config import Config
from mmengine.optim import OptimWrapper

from bce3s.engine.report_hook import NOT_THE_EXPERIMENT
from bce3s.errors import BCE3SError

RATE = 'optim_wrapper.optimizer.lr'
# Keys of the length and of the learning rate, of MMEngine's schedules and of ours.
COURSE = re.compile(
    rf'{re.escape(RATE)}|optim_wrapper\.paramwise_cfg\..*|param_scheduler\b.*|'
    r'train_cfg\.max_(epochs|iters)|'
    r'custom_hooks\.\d+\.(finetune_epochs|warmup_epochs|lr|milestones|gamma|shift)'
)
LONGEST = 1_000_000  # characters of a config that are looked at
MOST = 20  # keys that are written out
NOTHING = 'nothing'


def changes(cfg: Config, meta: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Dotted key -> (value in the checkpoint, value here), as text, of what makes the experiment.

    The checkpoint has its config as text, ``meta.cfg``. It is Python code that nobody runs: its
    literals are taken out of the syntax tree.
    """
    was, now = (_settings(text) for text in (meta.get('cfg'), cfg.pretty_text))
    if not was:
        return {}
    keys = [*now, *(key for key in was if key not in now)]
    pairs = {key: (was.get(key, NOTHING), now.get(key, NOTHING)) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _settings(text: Any) -> dict[str, str]:
    """Dotted key -> text of its value, of the assignments in ``text``; {}: it cannot be read."""
    if not isinstance(text, str) or len(text) > LONGEST:
        return {}
    found: dict[str, str] = {}
    try:
        for node in ast.parse(text).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                if name not in NOT_THE_EXPERIMENT:
                    _flatten(name, node.value, found)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    return found


def _flatten(path: str, node: ast.expr, found: dict[str, str]) -> None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        children = [(word.arg, word.value) for word in node.keywords]
    elif isinstance(node, ast.Dict):
        children = [
            (ast.unparse(key).strip('\'"'), value)
            for key, value in zip(node.keys, node.values, strict=True)
            if key is not None
        ]
    elif isinstance(node, ast.List | ast.Tuple) and any(
        isinstance(item, ast.Call | ast.Dict) for item in node.elts
    ):
        children = list(enumerate(node.elts))
    else:
        children = []
    for key, child in children:
        _flatten(f'{path}.{key}', child, found)
    if not children:
        found[path] = ast.unparse(node)


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
