"""A misspelt config key ends the run with a sentence; MMEngine would accept it and ignore it, or
fail deep inside.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config

from bce3s.config_keys import (
    OWN_DATA_KEYS,
    Keys,
    closest,
    is_registered,
    readable,
    readers,
    registered,
    runner_keys,
)
from bce3s.config_values import (
    building,
    parse_scalar,
    parse_text,
    parse_value,
    takes_text_only,
    wrong_values,
)
from bce3s.errors import BCE3SError

# Paths that nothing declares: own data's keys are read before anything is built.
TEXT_KEYS = {'data_root', 'own_data.pretrained'}


def where_is(cfg: Config, pattern: str) -> str:
    """``file:line`` of the last line of the config's files that ``pattern`` (a regular expression)
    matches.

    ``cfg.text`` is the text of every file that the config is made of, each headed by its path.
    Without a match: the config's name.
    """
    file, line, found = cfg.filename, 0, str(cfg.filename)
    for text in (cfg.text or '').splitlines():
        line += 1
        if re.fullmatch(r'/\S+\.(py|json|ya?ml)', text):
            file, line = text, 0
        elif re.search(pattern, text):
            found = f'{file}:{line}'
    return found


def _setting(key: str) -> str:
    """The pattern of ``key=`` and ``'key':``."""
    return rf'\b{re.escape(key)}[\'"]?\s*[=:]'


def check_top_level(cfg: Config) -> None:
    """No top-level key may be nearly one that the Runner reads. Any other name is a variable, as
    OpenMMLab's configs have them (``dataset_type``, ``train_pipeline``), and so is one that begins
    with ``_`` or whose value the config itself uses.

    Raises:
        BCE3SError: such a key, with file and line and the closest match.
    """
    names = runner_keys() | (OWN_DATA_KEYS if 'own_data' in cfg else set())
    known = Keys(frozenset(names))
    for key in cfg:
        if known.near_miss(key) and not key.startswith('_') and not _is_used(cfg, key):
            place = where_is(cfg, rf'^{re.escape(key)}\s*=')
            raise BCE3SError(
                f'{place}: unknown config key {key!r}.{closest(key, names)} '
                'Nothing reads it; begin the name with _ if it is a variable of the config.'
            )


def _is_used(cfg: Config, name: str) -> bool:
    """Whether ``name`` stands in the config's files other than before a ``=``."""
    return bool(re.search(rf'(?<![\'"\w]){re.escape(name)}\b(?!\s*=[^=])', cfg.text or ''))


def check_arguments(cfg: Config) -> None:
    """Looks for keys that are nearly the name of an argument of what the dict is for, and for
    values of another type than is declared for that argument.

    A key that is not even near ends in a TypeError when it is built, see :func:`explain`; some
    builders take out keys of their own first, so only a likely slip is an error here.

    Raises:
        BCE3SError: such a key, with file and line and the closest match; or such a value.
    """
    _check_values(cfg, '', cfg._cfg_dict)
    for path, node in _read_dicts(cfg):
        _check_values(cfg, path, node)
        if path == 'optim_wrapper.optimizer' and not is_registered(node['type'], 'optimizer'):
            raise BCE3SError(_unknown(cfg, node['type'], 'optimizer'))
        keys = readable(path.split('.'), node)
        for key in node:
            if keys.near_miss(key):
                raise BCE3SError(_wrong_key(cfg, path, node, key, keys.names))


def _check_values(cfg: Config, path: str, node: Any) -> None:
    for key, expected in wrong_values(readers(path.split('.') if path else [], node), node):
        name, place = f'{path}.{key}' if path else key, where_is(cfg, _setting(key))
        raise BCE3SError(f'{place}: {name} is {_short(node[key])}, but must be {expected}.')


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f'{text[:97]}...'


def _wrong_key(cfg: Config, path: str, node: Any, key: str, known: Any) -> str:
    place, likely = where_is(cfg, _setting(key)), closest(key, known)
    if 'type' in node:
        return f'{place}: {node["type"]} takes no argument {key!r} (at {path}).{likely}'
    return f'{place}: {path} has no key {key!r}.{likely}'


# ------------------------------------------------------------ --cfg-options
def apply_options(cfg: Config, options: list[str]) -> None:
    """Merges ``KEY=VALUE`` options into ``cfg``, one after the other: an argument may follow the
    ``type`` that takes it.

    Raises:
        BCE3SError: no ``=``; or a key that the config does not have and nothing would read.
    """
    for option in options:
        key, equals, text = option.partition('=')
        if not equals or not key:
            raise BCE3SError(
                f'--cfg-options {option}: write KEY=VALUE, in quotes where the value has blanks.'
            )
        check_option(cfg, key)
        try:
            _set(cfg, key.split('.'), text)
        except BCE3SError as error:
            raise BCE3SError(f'--cfg-options {_short(option)}: {error}.') from error


def _set(cfg: Config, parts: list[str], text: str) -> None:
    """Like ``Config.merge_from_dict``, which cannot set an element of a list to a plain value."""
    if parts[-1] == '_delete_':
        if len(parts) > 1:
            cfg.merge_from_dict({'.'.join(parts): parse_value(text)})
        return
    node: Any = cfg._cfg_dict
    *above, last = parts
    for depth, part in enumerate(above):
        if isinstance(node, list):
            node = node[int(part)]
            continue
        if isinstance(node.get(part), tuple):  # whose elements could not be set
            node[part] = list(node[part])
        elif part not in node:
            node[part] = {}
        node = node[part]
        if not isinstance(node, dict | list):
            raise BCE3SError(f'{".".join(parts[: depth + 1])} is {_short(node)} and has no keys')
    if isinstance(node, list):
        value = parse_value(text)
        if isinstance(node[int(last)], dict) and not isinstance(value, dict):
            raise BCE3SError('it must be a dict')
        node[int(last)] = value
        return
    targets = readers(above, node)
    value = _value(parts, text, node.get(last), targets)
    if isinstance(node.get(last), dict) and isinstance(value, str | int | float):
        raise BCE3SError('it must be a dict')
    for _, expected in wrong_values(targets, {last: value}):
        raise BCE3SError(f'it must be {expected}')
    node[last] = value


def _value(parts: list[str], text: str, present: Any, targets: Sequence[Callable]) -> Any:
    """A path, or whatever else is declared as text, may hold commas, brackets, quotes and equals
    signs; where a text stands already, a comma makes no list.
    """
    if '.'.join(parts) in TEXT_KEYS or takes_text_only(targets, parts[-1]):
        return parse_text(text)
    if isinstance(present, str) and not text.startswith(('[', '(', '{', 'dict(', '"', "'")):
        return parse_scalar(text)
    return parse_value(text)


def check_option(cfg: Config, dotted: str) -> None:
    """Raises BCE3SError where ``dotted`` names nothing that the config has or something reads."""
    node: Any = cfg
    parts = dotted.split('.')
    if parts[0] == 'custom_imports':
        raise BCE3SError(
            f'--cfg-options {dotted}: imports take effect while the config file is read; write '
            'custom_imports = dict(imports=[...]) into it.'
        )
    for depth, part in enumerate(parts):
        path = '.'.join(parts[:depth])
        if isinstance(node, list | tuple):
            if not part.isdigit() or int(part) >= len(node):
                raise BCE3SError(
                    f'--cfg-options {dotted}: {path} is a list of {len(node)}; write an index '
                    f'below that, not {part!r}.'
                )
            node = node[int(part)]
        elif not hasattr(node, 'keys'):
            raise BCE3SError(f'--cfg-options {dotted}: {path} is {node!r} and has no keys.')
        elif part in node:
            node = node[part]
        else:
            keys = readable(parts[:depth], node)
            if keys.refuse(part):
                place = path or 'the config'
                likely = closest(part, {*keys.names, *node})
                raise BCE3SError(f'--cfg-options {dotted}: {place} has no key {part!r}.{likely}')
            return


# ------------------------------------------------------------ explanations
def explain(error: BaseException, cfg: Config) -> str | None:
    """The sentence for an error that a config caused: an unknown ``type`` or argument, or a value
    that something cannot be built with. None for any other error.
    """
    text = str(error.args[0]) if error.args else ''
    if found := re.search(r'^(\S+) is not in the (?:\S+?::)?(.+?) registry', text):
        return _unknown(cfg, *found.groups())
    if found := re.search(r"\(\) got an unexpected keyword argument '(\w+)'", text):
        return _unexpected(found[1], cfg)
    found = building(error)
    return _unbuilt(error, *found, cfg) if found else None


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
        sentence = explain(error, cfg)
        if sentence is None:
            raise
        raise BCE3SError(sentence) from error


def _unknown(cfg: Config, name: str, kind: str) -> str:
    at = where_is(cfg, rf'[\'"]{re.escape(name)}[\'"]')
    own = ' A class of your own needs its module in custom_imports.imports of the config.'
    near = closest(name, registered(kind))
    return f'{at}: no {kind} is called {name!r}.{near or own}'


def _unbuilt(error: BaseException, node: Any, raised: str, cfg: Config) -> str:
    """For an error out of a constructor: of what, where the config has it, and what it said."""
    kind = str(node.get('type', 'a part')) if node else 'a part'
    same = (path for path, own in typed_dicts(cfg._cfg_dict) if own == node)
    path = next(same, None) or next(
        (path for path, own in typed_dicts(cfg._cfg_dict) if own.get('type') == kind), 'the config'
    )
    place = where_is(cfg, rf'[\'"]{re.escape(kind)}[\'"]')
    said = (str(error) or type(error).__name__).splitlines()[0][:300]
    return f'{place}: {kind} (at {path}) cannot be built: {said} ({raised}). Check its values.'


def _unexpected(key: str, cfg: Config) -> str | None:
    """For an argument that the config gave; None if it came from code, which is then a bug."""
    for path, node in _read_dicts(cfg):
        if key in node:
            keys = readable(path.split('.'), node)
            if key not in keys.names:
                return _wrong_key(cfg, path, node, key, keys.names)
    return None


def typed_dicts(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """``(dotted path, dict)`` of every dict with a ``type`` given by name."""
    if hasattr(node, 'items'):
        if isinstance(node.get('type'), str):
            yield path, node
        children = node.items()
    elif isinstance(node, list | tuple):
        children = enumerate(node)
    else:
        return
    for key, child in children:
        yield from typed_dicts(child, f'{path}.{key}' if path else str(key))


def _read_dicts(cfg: Config) -> Iterator[tuple[str, Any]]:
    """``(dotted path, dict)`` of every dict whose keys are the arguments of something."""
    yield from typed_dicts(cfg._cfg_dict)
    for key in cfg:
        if hasattr(cfg[key], 'keys') and 'type' not in cfg[key]:
            yield key, cfg[key]
