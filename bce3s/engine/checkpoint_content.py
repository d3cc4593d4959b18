"""Whether what a checkpoint holds has the form that a resume, the hooks and the report rely on.

A file may be a sound torch file and still hold a list where a dict belongs. Found here, it is one
sentence; found later, a traceback from inside MMEngine.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

from bce3s.errors import BCE3SError

DEEPEST = 100
HISTORY = {'log_history', 'count_history', 'max_length'}
FIGURES = ('all', 'many', 'medium', 'few')
# MMEngine's Runner.resume runs the text of `config` as Python code; nothing here writes it.
CODE_IN_META = ('config',)


class Content:
    """The containers of a checkpoint, each made anew: dicts, lists, tuples of plain values and
    dense tensors, without attributes that a crafted file could hang on them.

    Args:
        where: begins each sentence, the name of the file.
        size: bytes of the file; no tensor may have more elements than it has room for.
    """

    def __init__(self, where: str, size: int) -> None:
        self.where, self.size = where, size
        self.done: dict[int, Any] = {}  # what occurs several times is looked at once
        self.open: set[int] = set()

    def copy(self, value: Any, name: str = 'it', depth: int = 0) -> Any:
        """``value`` copied, tensors sharing their memory with the former.

        Raises:
            BCE3SError: a sparse, quantised or oversized tensor; a container that holds itself.
        """
        if isinstance(value, Tensor):
            return self._tensor(value, name)
        if not isinstance(value, dict | list | tuple | set):
            return value
        if id(value) in self.done:
            return self.done[id(value)]
        if id(value) in self.open or depth > DEEPEST:
            raise self.unfit(name, 'holds itself, or containers too deep in each other')
        self.open.add(id(value))
        self.done[id(value)] = copied = self._container(value, name, depth + 1)
        self.open.discard(id(value))
        return copied

    def _container(self, value: Any, name: str, depth: int) -> Any:
        if isinstance(value, dict):
            pairs = dict.items(value)
            return {k: self.copy(v, f'{name}.{k!s:.100}', depth) for k, v in pairs}
        items = [self.copy(v, f'{name}.{i}', depth) for i, v in enumerate(value)]
        if isinstance(value, torch.Size | set):
            return type(value)(items)
        return tuple(items) if isinstance(value, tuple) else items

    def _tensor(self, value: Tensor, name: str) -> Tensor:
        if type(value) not in (Tensor, torch.nn.Parameter):
            raise self.unfit(name, f'is a {type(value).__name__}')
        value = Tensor.detach(value)  # without hooks and attributes
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise self.unfit(name, 'is a tensor that is sparse, quantised or has no data')
        if value.numel() * value.element_size() > max(self.size, 1 << 20):
            raise self.unfit(
                name, f'is a tensor of shape {tuple(value.shape)}, larger than the file'
            )
        return value

    def unfit(self, name: str, what: str) -> BCE3SError:
        return BCE3SError(
            f'{self.where} is no checkpoint that can be used: {name} {what}. Use an earlier '
            'checkpoint, or the file as it was written.'
        )

    def require(self, condition: bool, name: str, what: str) -> None:
        """Raises :meth:`unfit` unless ``condition`` holds; ``what``: what it should be."""
        if not condition:
            raise self.unfit(name, f'is not {what}')


def checked(where: str, size: int, loaded: dict) -> dict:
    """What ``torch.load`` gave, copied (see :class:`Content`), if all that is known by name has its
    form: ``state_dict`` (or the whole, where there is none), ``meta`` (without code),
    ``message_hub``, ``optimizer``, ``param_schedulers``.

    Raises:
        BCE3SError: what does not.
    """
    content = Content(where, size)
    checkpoint = content.copy(loaded)
    content.require(all(isinstance(key, str) for key in checkpoint), 'its keys', 'strings')
    if 'state_dict' not in checkpoint:
        _check_states(content, checkpoint, 'it')
        return _with_versions(loaded, checkpoint)
    _check_states(content, checkpoint['state_dict'], 'state_dict')
    states = loaded['state_dict']
    checkpoint['state_dict'] = _with_versions(states, checkpoint['state_dict'])
    # weights alone may come without the rest; what can be resumed from has all of it
    empty = {name for name in CHECKS if _is_empty(checkpoint.get(name))}
    resumable = not {'optimizer', 'message_hub'} <= empty
    for name, check in CHECKS.items():
        if name not in empty or (resumable and name in checkpoint):
            check(content, checkpoint[name])
    if resumable:
        names = {'epoch', 'iter'} <= checkpoint.get('meta', {}).keys()
        content.require(names, 'meta', 'a dict with epoch and iter')
    return checkpoint


def _check_states(content: Content, states: Any, name: str) -> None:
    content.require(isinstance(states, dict), name, 'a dict of tensors')
    for key, value in states.items():
        content.require(isinstance(key, str), f'{name}: key {key!s:.100}', 'a string')
        if not isinstance(value, Tensor):
            kind = type(value).__name__
            raise content.unfit(f'{name}.{key:.100}', f'is a {kind} where a tensor belongs')


def _with_versions(loaded: Any, states: dict) -> dict:
    """With the versions of modules that torch keeps beside a state dict, which some layers read."""
    versions = getattr(loaded, '_metadata', None)
    if not isinstance(versions, dict):
        return states
    plain = {
        name: {k: v for k, v in entry.items() if isinstance(v, bool | int)}
        for name, entry in versions.items()
        if isinstance(name, str) and isinstance(entry, dict)
    }
    states = OrderedDict(states)
    states._metadata = plain
    return states


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, dict | list) and not value)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**62


def _check_meta(content: Content, meta: Any) -> None:
    content.require(isinstance(meta, dict), 'meta', 'a dict')
    for key in CODE_IN_META:
        meta.pop(key, None)
    for key in ('epoch', 'iter'):
        if key in meta:
            content.require(_is_count(meta[key]), f'meta.{key}', 'a number of steps')
    seed = meta.get('seed')
    fits = seed is None or (_is_count(seed) and seed < 2**32)
    content.require(fits, 'meta.seed', 'a seed (below 2**32)')
    size = meta.get('epoch_size')
    fits = size is None or (isinstance(size, dict) and size and all(map(_is_count, size.values())))
    content.require(bool(fits), 'meta.epoch_size', 'a dict of numbers')
    content.require(size is None or 'batches' in size, 'meta.epoch_size', 'with batches')
    data = meta.get('dataset_meta')
    content.require(data is None or isinstance(data, dict), 'meta.dataset_meta', 'a dict')
    if data is not None and data.get('subset') is not None:
        fits = isinstance(data['subset'], dict)
        content.require(fits, 'meta.dataset_meta.subset', 'a dict')


def _check_hub(content: Content, hub: Any) -> None:
    content.require(isinstance(hub, dict), 'message_hub', 'a dict')
    for part in ('log_scalars', 'runtime_info', 'resumed_keys'):
        fits = isinstance(hub.get(part), dict) and all(isinstance(k, str) for k in hub[part])
        content.require(fits, f'message_hub.{part}', 'a dict with names')
    for name, history in hub['log_scalars'].items():
        content.require(_is_history(history), f'message_hub.log_scalars.{name}', 'a history')
    for name, value in hub['resumed_keys'].items():
        fits = isinstance(value, bool)
        content.require(fits, f'message_hub.resumed_keys.{name}', 'True or False')
    _check_report(content, hub['runtime_info'].get('report_history'))


def _is_history(history: Any) -> bool:
    if not isinstance(history, dict) or history.keys() != HISTORY:
        return False
    logs, counts = history['log_history'], history['count_history']
    tensors = isinstance(logs, Tensor) and isinstance(counts, Tensor)
    return (
        tensors
        and logs.ndim == 1
        and logs.shape == counts.shape
        and not (logs.is_complex() or counts.is_complex())
        and _is_count(history['max_length'])
        and history['max_length'] > 0
    )


def _check_report(content: Content, history: Any) -> None:
    name = 'message_hub.runtime_info.report_history'
    if history is None:
        return
    content.require(isinstance(history, list), name, 'a list')
    for row in history:
        fits = isinstance(row, dict) and _is_count(row.get('epoch')) and 'stage' in row
        content.require(
            fits and row['stage'] in (None, 1, 2), name, 'a list of epochs with figures'
        )
        for figures in (row, row.get('flip_tta', row)):
            content.require(_has_figures(figures), name, 'a list of epochs with figures')


def _has_figures(figures: Any) -> bool:
    return isinstance(figures, dict) and all(
        key in figures and (figures[key] is None or type(figures[key]) in (int, float))
        for key in FIGURES
    )


def _check_optimizer(content: Content, state: Any, name: str = 'optimizer') -> None:
    content.require(isinstance(state, dict), name, 'a dict')
    if 'param_groups' not in state and state and all(isinstance(v, dict) for v in state.values()):
        for key, value in state.items():  # of several optimisers
            _check_one(content, value, f'{name}.{key}')
    else:
        _check_one(content, state, name)


def _check_one(content: Content, state: dict, name: str) -> None:
    groups, states = state.get('param_groups'), state.get('state')
    content.require(isinstance(states, dict), f'{name}.state', 'a dict')
    content.require(isinstance(groups, list), f'{name}.param_groups', 'a list')
    for group in groups:
        fits = isinstance(group, dict) and all(isinstance(key, str) for key in group)
        fits = fits and isinstance(group.get('params'), list)
        fits = fits and all(type(number) is int for number in group['params'])
        content.require(fits, f'{name}.param_groups', 'a list of groups with params')
    for entry in states.values():
        content.require(isinstance(entry, dict), f'{name}.state', 'a dict of dicts')


def _check_schedulers(content: Content, states: Any) -> None:
    lists = states.values() if isinstance(states, dict) else [states]
    for entry in lists:
        fits = isinstance(entry, list) and all(isinstance(state, dict) for state in entry)
        content.require(fits, 'param_schedulers', 'a list of dicts')


CHECKS = {
    'meta': _check_meta,
    'message_hub': _check_hub,
    'optimizer': _check_optimizer,
    'param_schedulers': _check_schedulers,
}
