"""Which keys a dict of a config may have: the arguments of whatever will be built from it."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

# Read by MMEngine's Runner, its Config or its launchers, beside the arguments of Runner.__init__.
FURTHER_KEYS = {
    'work_dir',
    'model_wrapper_cfg',
    'find_unused_parameters',
    'sync_bn',
    'compile',
    'activation_checkpointing',
    'efficient_conv_bn_eval',
    'custom_imports',
    'runner_type',
}
# Read and removed by bce3s.own_data.complete, of a config that has both.
OWN_DATA_KEYS = {'data_root', 'own_data'}
# Taken out by builders before the constructor sees them.
BUILDER_KEYS = {
    'optim_wrapper': {'constructor', 'paramwise_cfg', 'optimizer'},
    'hook': {'priority'},
    'transform': {'magnitude_key', 'magnitude_range'},  # by RandAugment, of its policies
    'parameter scheduler': {'convert_to_iter_based'},
}
EVERYWHERE = {'type', '_scope_', '_delete_', 'init_cfg'}
FURTHER_OF = {
    'train_cfg': {'by_epoch', 'type'},
    'val_cfg': {'type'},
    'test_cfg': {'type'},
    'optim_wrapper': BUILDER_KEYS['optim_wrapper'] | {'type'},
    'log_processor': {'type'},
}
DATALOADER_KEYS = {'dataset', 'sampler', 'batch_sampler', 'collate_fn', 'num_batch_per_epoch'}


@dataclass(frozen=True)
class Keys:
    """The names that something reads; ``open``: it takes others too (``**kwargs`` without end)."""

    names: frozenset[str]
    open: bool = False

    def refuse(self, key: str) -> bool:
        """Whether ``key`` cannot be meant: not taken, or one letter off what is."""
        return key not in self.names and (not self.open or self.near_miss(key))

    def near_miss(self, key: str) -> bool:
        """Whether ``key`` is not one of the names but very like one."""
        return key not in self.names and bool(
            difflib.get_close_matches(key, self.names, n=1, cutoff=0.8)
        )

    def __or__(self, other: Keys) -> Keys:
        return Keys(self.names | other.names, self.open or other.open)


def closest(name: str, known: Iterable[str]) -> str:
    """`` Did you mean X?`` or nothing."""
    match = difflib.get_close_matches(name, sorted(set(known)), n=1, cutoff=0.6)
    return f' Did you mean {match[0]!r}?' if match else ''


def runner_keys() -> set[str]:
    """The top-level keys that something reads."""
    from mmengine.runner import Runner

    return set(arguments(Runner).names) | FURTHER_KEYS


def arguments(target: Callable) -> Keys:
    """The arguments of a class or function; those of the base classes too where it hands on
    ``**kwargs``.
    """
    try:
        if not inspect.isclass(target):
            return _keys(inspect.signature(target))
        keys = Keys(frozenset(), open=True)
        for cls in inspect.getmro(target):
            if '__init__' in vars(cls) and cls is not object:
                own = _keys(inspect.signature(cls.__init__))
                keys = Keys(keys.names | own.names, own.open)
                if not own.open:
                    break
    except ValueError:  # written in C, without a signature
        return Keys(frozenset(), open=True)
    return keys


def _keys(signature: inspect.Signature) -> Keys:
    parameters = signature.parameters.values()
    named = {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    return Keys(frozenset(named - {'self'}), any(p.kind is p.VAR_KEYWORD for p in parameters))


@functools.cache
def targets_of_type(name: str) -> tuple[Callable, ...]:
    """What the registries have under ``name``; a registry also imports what a name like
    ``torch.nn.Linear`` stands for.
    """
    found = (_named_in(registry, name) for registry in registries())
    return tuple(target for target in found if target is not None)


def is_registered(name: str, kind: str) -> bool:
    """Whether the registries called ``kind`` have ``name``."""
    return any(_named_in(r, name) is not None for r in registries() if r.name == kind)


def _named_in(registry: Any, name: str) -> Callable | None:
    try:
        target = registry.get(name)
    except Exception:  # a name that is none can raise anything out of an import
        return None
    return target if callable(target) else None


def readers(path: list[str], node: Any) -> tuple[Callable, ...]:
    """The classes or functions that get ``node``, the dict at ``path`` in a config, as arguments;
    empty where that is not known.
    """
    from mmengine.optim import OptimWrapper
    from mmengine.runner import EpochBasedTrainLoop, LogProcessor, Runner, TestLoop, ValLoop
    from torch.utils.data import DataLoader

    if not path:
        return (Runner,)
    if isinstance(node.get('type'), str):
        return targets_of_type(node['type'])
    known: dict[str, Callable] = {
        'train_cfg': EpochBasedTrainLoop,
        'val_cfg': ValLoop,
        'test_cfg': TestLoop,
        'optim_wrapper': OptimWrapper,
        'randomness': Runner.set_randomness,
        'log_processor': LogProcessor,
    }
    if len(path) == 1 and path[0].endswith('_dataloader'):
        return (DataLoader,)
    return (known[path[0]],) if len(path) == 1 and path[0] in known else ()


@functools.cache
def arguments_of_type(name: str) -> Keys | None:
    """What a dict with ``type=name`` may hold; None for an unknown name. A name that is in several
    registries may hold what any of them takes.
    """
    keys = None
    for registry in registries():
        if (target := _named_in(registry, name)) is not None:
            further = Keys(frozenset(BUILDER_KEYS.get(registry.name, set()) | EVERYWHERE))
            keys = (keys or further) | further | arguments(target)
    return keys


def readable(path: list[str], node: Any) -> Keys:
    """What is read from ``node``, the dict at ``path`` in a config."""
    if not path:
        return Keys(frozenset(runner_keys()))
    if isinstance(node.get('type'), str):
        return arguments_of_type(node['type']) or Keys(frozenset(), open=True)
    if path == ['default_hooks']:  # a further hook may have any name
        return Keys(frozenset(node), open=True)
    if found := readers(path, node):
        further = FURTHER_OF.get(path[0], DATALOADER_KEYS if 'dataloader' in path[0] else set())
        return arguments(found[0]) | Keys(frozenset(further))
    return Keys(frozenset(node))


def registries() -> Iterator[Any]:
    """Ours, then those of MMEngine's that we have none of."""
    import mmengine.registry as theirs
    from mmengine.registry import Registry

    from bce3s import registry as ours

    seen = set()
    for module in (ours, theirs):
        for registry in vars(module).values():
            if isinstance(registry, Registry) and registry.name not in seen:
                seen.add(registry.name)
                yield registry


def registered(kind: str) -> set[str]:
    """The names in the registries called ``kind``, ours and their parents'."""
    names: set[str] = set()
    for registry in registries():
        while registry is not None and registry.name == kind:
            registry.import_from_location()
            names |= set(registry.module_dict)
            registry = registry.parent
    return names
