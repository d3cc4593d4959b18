"""Which keys a config may have, and what in it could not be built.

MMEngine would ignore a misspelt key, or fail deep inside. Nothing here imports torch or MMEngine
before it is called.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bce3s.errors import BCE3SError

if TYPE_CHECKING:
    from mmengine.config import Config

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# Read by MMEngine's Runner, its Config or its launchers, beside the arguments of Runner.__init__.
FURTHER_KEYS = {
    *('work_dir', 'model_wrapper_cfg', 'find_unused_parameters', 'sync_bn', 'compile'),
    *('activation_checkpointing', 'efficient_conv_bn_eval', 'custom_imports', 'runner_type'),
}
OWN_DATA_KEYS = {'data_root', 'own_data'}  # read by bce3s.own_data, of a config that has the latter
# Taken out by builders before the constructor sees them.
BUILDER_KEYS = {
    *('type', '_scope_', '_delete_', 'init_cfg', 'priority'),
    *('convert_to_iter_based', 'magnitude_key', 'magnitude_range'),
}
LOADER_KEYS = {'dataset', 'sampler', 'batch_sampler', 'collate_fn', 'num_batch_per_epoch'}
FURTHER_OF = {
    '': FURTHER_KEYS,
    'train_cfg': {'by_epoch', 'finetune_epochs'},
    'optim_wrapper': {'constructor', 'paramwise_cfg', 'optimizer'},
    **dict.fromkeys(LOADERS, LOADER_KEYS),
}


def arguments(target: Callable) -> tuple[set[str], bool]:
    """The arguments of a class or function, and whether it takes any other; those of the base
    classes too where it hands on ``**kwargs``.
    """
    is_class = inspect.isclass(target)
    owners = [c for c in inspect.getmro(target)[:-1] if '__init__' in vars(c)] if is_class else []
    names: set[str] = set()
    for function in [vars(owner)['__init__'] for owner in owners] or [target]:
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):  # written in C, without a signature
            return names, True
        names |= {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names - {'self'}, False
    return names - {'self'}, True


def known_keys(path: str, node: Any) -> tuple[set[str], bool]:
    """What is read from ``node``, the dict at the dotted ``path`` in a config, and whether other
    keys may be meant too.
    """
    from mmengine.optim import OptimWrapper
    from mmengine.runner import EpochBasedTrainLoop, LogProcessor, Runner, TestLoop, ValLoop
    from torch.utils.data import DataLoader

    kind = node.get('type')
    by_path: dict[str, Callable] = {
        '': Runner,
        **dict.fromkeys(LOADERS, DataLoader),
        'train_cfg': EpochBasedTrainLoop,
        'val_cfg': ValLoop,
        'test_cfg': TestLoop,
        'optim_wrapper': OptimWrapper,
        'randomness': Runner.set_randomness,
        'log_processor': LogProcessor,
    }
    if kind is not None:
        targets = targets_of_type(kind) if isinstance(kind, str) else [kind]
    else:
        targets = [by_path[path]] if path in by_path else []
    found = [arguments(target) for target in targets]
    names = set(node if not found else ()).union(*(names for names, _ in found))
    names |= FURTHER_OF.get(path, set())
    if not path and 'own_data' in node:
        names |= OWN_DATA_KEYS
    unknown = kind is not None and not found
    return names, unknown or path == 'default_hooks' or not node or any(o for _, o in found)


@functools.cache
def targets_of_type(name: str, kind: str = '') -> tuple[Callable, ...]:
    """What the registries (those called ``kind``) have under ``name``; a registry also imports what
    a name like ``torch.nn.Linear`` stands for.
    """
    found = []
    for registry in (r for r in registries() if kind in ('', r.name)):
        try:
            found.append(registry.get(name))
        except Exception:
            continue
    return tuple(target for target in found if callable(target))


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


def closest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """`` Did you mean X?`` or nothing."""
    match = difflib.get_close_matches(name, sorted(set(known)), n=1, cutoff=cutoff)
    return f' Did you mean {match[0]!r}?' if match else ''


def check_keys(cfg: Config) -> None:
    """No key may be nearly one that something reads. One that is not even near is a variable of the
    config at the top, and below it a TypeError when the part is built, see :func:`explain`; some
    builders take out keys of their own first.

    Raises:
        BCE3SError: such a key, with file and line and the closest match; or a number of epochs,
            images or processes, or a bound of the gradient, that is none.
    """
    for path, node in _parts(cfg._cfg_dict):
        names, _ = known_keys(path, node)
        for key in node:
            if key in names | BUILDER_KEYS or not closest(key, names, 0.8):
                continue
            if path or not (key.startswith('_') or _is_used(cfg, key)):
                raise BCE3SError(_wrong_key(cfg, path, node, key, names))
    kind = _of(_of(cfg, 'optim_wrapper'), 'optimizer').get('type', 'SGD')
    if not callable(kind) and not targets_of_type(str(kind), 'optimizer'):  # or a TypeError
        raise BCE3SError(_unknown(cfg, str(kind), 'optimizer'))
    for path, least in LEAST.items():
        name, _, key = path.partition('.')
        value = _of(cfg, name).get(key, least)
        if path == 'randomness.seed' and value is None:  # another one each time
            continue
        if not isinstance(value, int) or value < least:
            raise BCE3SError(
                f'{where_is(cfg, _setting(key))}: {path} is {short(value)}, but must be an integer '
                f'of at least {least}.'
            )
    for key in ('max_norm', 'clip_value'):
        path = f'optim_wrapper.clip_grad.{key}'
        value = _of(_of(cfg, 'optim_wrapper'), 'clip_grad').get(key, 1)
        if not isinstance(value, int | float) or not value > 0:
            raise BCE3SError(
                f'{where_is(cfg, _setting(key))}: {path} is {short(value)}, but must be a number '
                'above 0.'
            )


def _of(node: Any, key: str) -> Mapping:
    """The dict at ``key``; an empty one where there is none."""
    value = node.get(key)
    return value if isinstance(value, Mapping) else {}


# What MMEngine takes as it comes, to train nothing, or to fail without a word of the config.
LEAST = {
    **dict.fromkeys(('train_cfg.max_epochs', 'train_cfg.val_interval'), 1),
    **{f'{loader}.batch_size': 1 for loader in LOADERS},
    **{f'{loader}.num_workers': 0 for loader in LOADERS},
    'train_cfg.finetune_epochs': 0,
    'randomness.seed': 0,
}


def _is_used(cfg: Config, name: str) -> bool:
    """Whether ``name`` stands in the config's files other than before a ``=``."""
    return bool(re.search(rf'(?<![\'"\w]){re.escape(name)}\b(?!\s*=[^=])', cfg.text or ''))


def _setting(key: str) -> str:
    """The pattern of ``key=`` and ``'key':``."""
    return rf'\b{re.escape(key)}[\'"]?\s*[=:]'


def _wrong_key(cfg: Config, path: str, node: Any, key: str, known: Iterable[str]) -> str:
    place, likely = where_is(cfg, _setting(key) if path else rf'^{key}\s*='), closest(key, known)
    if not path:
        return (
            f'{place}: unknown config key {key!r}.{likely} Nothing reads it; begin the name with _ '
            'if it is a variable of the config.'
        )
    if 'type' in node:
        return f'{place}: {_name(node["type"])} takes no argument {key!r} (at {path}).{likely}'
    return f'{place}: {path} has no key {key!r}.{likely}'


def _name(kind: Any) -> str:
    return kind if isinstance(kind, str) else getattr(kind, '__name__', repr(kind))


def short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f'{text[:97]}...'


def _parts(cfg: Any) -> Iterator[tuple[str, Any]]:
    """``(dotted path, dict)`` of every dict whose keys are the arguments of something."""
    yield '', cfg
    for key, value in cfg.items():
        if isinstance(value, Mapping) and 'type' not in value:
            yield key, value
    yield from typed_dicts(cfg)


def typed_dicts(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """``(dotted path, dict)`` of every dict with a ``type``."""
    if isinstance(node, Mapping):
        if node.get('type') is not None:
            yield path, node
        children = node.items()
    else:
        children = enumerate(node) if isinstance(node, list | tuple) else ()
    for key, child in children:
        yield from typed_dicts(child, f'{path}.{key}' if path else str(key))


def where_is(cfg: Config, pattern: str) -> str:
    """``file:line`` of the last line of the config's files that ``pattern`` (a regular expression)
    matches; without a match the config's name. ``cfg.text`` has all files, each under its path.
    """
    file, line, found = cfg.filename, 0, str(cfg.filename)
    for text in (cfg.text or '').splitlines():
        line += 1
        if re.fullmatch(r'/\S+\.py', text):
            file, line = text, 0
        elif re.search(pattern, text):
            found = f'{file}:{line}'
    return found


# ------------------------------------------------------------ what could not be built
@contextmanager
def explained(cfg: Config) -> Iterator[None]:
    """In this block an error that ``cfg`` caused is its sentence.

    Raises:
        BCE3SError: see :func:`explain`; any other error goes on as it is.
    """
    try:
        yield
    except BCE3SError:
        raise
    except Exception as error:
        if (sentence := explain(error, cfg)) is None:
            raise
        raise BCE3SError(sentence) from error


def explain(error: BaseException, cfg: Config) -> str | None:
    """The sentence for an error that a config caused: an unknown ``type`` or argument, or a value
    that something cannot be built with. None for any other error.
    """
    text = str(error.args[0]) if error.args else ''
    if found := re.search(r'^(\S+) is not in the (?:\S+?::)?(.+?) registry', text):
        return _unknown(cfg, *found.groups())
    if found := re.search(r"\(\) got an unexpected keyword argument '(\w+)'", text):
        key = found[1]
        for path, node in _parts(cfg._cfg_dict):
            if path and key in node and key not in known_keys(path, node)[0]:
                return _wrong_key(cfg, path, node, key, known_keys(path, node)[0])
        return None  # it came from code, which is then a bug
    return _unbuilt(error, cfg)


def _unknown(cfg: Config, name: str, kind: str) -> str:
    names: set[str] = set()
    for registry in (r for r in registries() if r.name == kind):
        while registry is not None:
            registry.import_from_location()
            names |= set(registry.module_dict)
            registry = registry.parent
    own = ' A class of your own needs its module in custom_imports.imports of the config.'
    place = where_is(cfg, rf'[\'"]{re.escape(name)}[\'"]')
    return f'{place}: no {kind} is called {name!r}.{closest(name, names) or own}'


def _unbuilt(error: BaseException, cfg: Config) -> str | None:
    """For an error out of a constructor: of what, where the config has it, and what it said."""
    node, found = None, False
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == 'build_from_cfg':
            node, found = frame.f_locals.get('cfg'), True
        elif frame.f_code.co_name == 'build_dataloader' and not found:
            node, found = frame.f_locals.get('dataloader'), True
    if not found:
        return None
    last = traceback.extract_tb(error.__traceback__)[-1]
    kind = _name(node.get('type', 'a part')) if isinstance(node, Mapping) else 'a part'
    parts = list(typed_dicts(cfg._cfg_dict))
    paths = [path for path, own in parts if own == node]
    paths += [path for path, own in parts if _name(own['type']) == kind]
    place = where_is(cfg, rf'[\'"]{re.escape(kind)}[\'"]')
    said = (str(error) or type(error).__name__).splitlines()[0][:300]
    return (
        f'{place}: {kind} (at {[*paths, "the config"][0]}) cannot be built: {said} '
        f'({Path(last.filename).name}:{last.lineno}). Check its values.'
    )
