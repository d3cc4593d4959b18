"""Whether the values of a config are of the kind that their readers declare, and which of them
something could not be built with.

What is declared is a type annotation of the class or function that the dict is for. Where there is
none, or one that does not tell (a class of somebody's own), any value passes.
"""

from __future__ import annotations

import functools
import inspect
import traceback
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Number
from pathlib import Path
from typing import Any, Literal, Union

from bce3s.errors import BCE3SError

# Of what has no annotation, or a narrower range than its type.
LEAST = {
    'max_epochs': 1,
    'val_interval': 1,
    'batch_size': 1,
    'num_workers': 0,
    'num_classes': 1,
    'finetune_epochs': 0,
    'max_norm': 0,
}
FURTHER = {'seed': (int, None), 'max_epochs': (int,), 'num_classes': (int,)}
NAMES = {int: 'an integer', float: 'a number', bool: 'True or False', str: 'text', dict: 'a dict'}
DEEPEST_VALUE = 20  # brackets in brackets


# ------------------------------------------------------------ text -> value
def parse_value(text: str) -> Any:
    """What ``KEY=TEXT`` sets: a number, True, False, None or text; with commas or in ``[...]`` a
    list, in ``(...)`` a tuple, in each other as often as wanted. Outer quotes are taken off.

    Raises:
        BCE3SError: brackets that do not belong together, or more than 20 deep.
    """
    from mmengine.config import DictAction

    text = text.strip(' \'"')
    elements = _split(text)
    if len(elements) > 1 or text.endswith(','):
        return [parse_value(element) for element in elements]
    for opening, closing, kind in (('[', ']', list), ('(', ')', tuple)):
        if text.startswith(opening) and text.endswith(closing) and len(text) > 1:
            return kind(parse_value(element) for element in _split(text[1:-1]))
    return DictAction._parse_int_float_bool(text)


def _split(text: str) -> list[str]:
    """The parts between the commas that are in no bracket; one comma at the end ends the last."""
    closing, depth, start, parts = {'[': ']', '(': ')'}, [], 0, []
    for at, character in enumerate(text):
        if character in closing:
            depth.append(closing[character])
        elif character in closing.values():
            if not depth or depth.pop() != character:
                raise BCE3SError(f'Imbalanced brackets: {character!r} closes none')
        elif character == ',' and not depth:
            parts.append(text[start:at])
            start = at + 1
        if len(depth) > DEEPEST_VALUE:
            raise BCE3SError(f'brackets lie more than {DEEPEST_VALUE} deep in each other')
    if depth:
        raise BCE3SError(f'Imbalanced brackets: {depth[-1]!r} is missing')
    return [*parts, text[start:]] if text[start:].strip() else parts


# ------------------------------------------------------------ value against annotation
def wrong_values(targets: Sequence[Callable], node: Mapping) -> Iterator[tuple[str, str]]:
    """(key, what is expected) of each value in ``node`` that no one of ``targets`` takes."""
    declared = [annotations(target) for target in targets]
    for key, value in node.items():
        if key == 'type' and not (value if isinstance(value, str) else callable(value)):
            yield key, 'the name of a class or function'
        least = LEAST.get(key)
        if least is not None and _is_number(value) and not value >= least:
            yield key, f'at least {least}'
        kinds = [known[key] for known in declared if key in known]
        if key in FURTHER:
            kinds = [FURTHER[key]]
        if kinds and not any(_any_fits(value, kind) for kind in kinds):
            yield key, described(Union[kinds[0]])  # noqa: UP007  (of a tuple)


@functools.cache
def annotations(target: Callable) -> dict[str, tuple]:
    """The types that each argument of a class or function takes, as far as they are declared."""
    if not inspect.isclass(target):
        return _of_function(target)
    found: dict[str, tuple] = {}
    for cls in inspect.getmro(target):
        if '__init__' in vars(cls) and cls is not object:
            for name, kind in _of_function(cls.__init__).items():
                found.setdefault(name, kind)
    return found


def _of_function(function: Callable) -> dict[str, tuple]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # written in C, without a signature
        return {}
    kinds = {}
    for parameter in parameters:
        kind = parameter.annotation
        if isinstance(kind, str):
            kind = _evaluated(kind, getattr(function, '__globals__', {}))
        if kind is not inspect.Parameter.empty:
            # `x: int = None` is written often and means that None will do
            kinds[parameter.name] = (kind, None) if parameter.default is None else (kind,)
    return kinds


def _evaluated(text: str, names: dict) -> Any:
    try:
        return eval(text, dict(names))  # source code of an installed module, never a config's
    except Exception:  # names for type checkers only
        return inspect.Parameter.empty


def _any_fits(value: Any, kinds: Sequence) -> bool:
    """What may be a dict is built from one: then text is no name of something else."""
    dicts = any(described(kind) == 'a dict' for kind in kinds)
    return any(fits(value, kind, names=not dicts) for kind in kinds)


def fits(value: Any, kind: Any, names: bool = True) -> bool:
    """Whether ``value``, out of a config, may be given for an argument declared as ``kind``.

    ``names``: whether text may stand for an object of a class that is not known here.
    """
    origin, held = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return _any_fits(value, held)
    if origin is Literal:
        return value in held
    if kind in (None, type(None)):
        return value is None
    base = origin or kind
    if not inspect.isclass(base) or base in (object, Any):
        return True
    if base in SIMPLE:
        return SIMPLE[base](value)
    if issubclass(base, Mapping):
        return isinstance(value, Mapping)
    if issubclass(base, list | tuple) or base in LISTS:
        return isinstance(value, list | tuple) and _elements_fit(value, base, held)
    if _is_tensor(base):
        return _is_number(value)
    return not isinstance(value, bool | int | float) and (names or not isinstance(value, str))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


SIMPLE: dict[Any, Callable[[Any], bool]] = {
    bool: lambda value: isinstance(value, bool) or value in (0, 1),
    int: _is_integer,
    float: _is_number,
    Number: _is_number,
    str: lambda value: isinstance(value, str | Path),
}
LISTS = (Sequence, typing.get_origin(typing.Iterable[int]))


def _is_tensor(kind: type) -> bool:
    return f'{kind.__module__}.{kind.__name__}' in ('torch.Tensor', 'torch._tensor.Tensor')


def _elements_fit(value: list | tuple, base: type, held: tuple) -> bool:
    if not held:
        return True
    if issubclass(base, tuple) and Ellipsis not in held:
        return len(value) == len(held) and all(map(fits, value, held))
    return all(fits(element, held[0]) for element in value)


def described(kind: Any) -> str:
    """``int | None`` -> 'an integer or None'."""
    origin, held = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        parts = dict.fromkeys(described(part) for part in held)
        # what may be a dict is built from it, an object of the class is for code
        plain = [part for part in parts if not part.startswith('an object of ')]
        return ' or '.join(plain if 'a dict' in plain else parts)
    if origin is Literal:
        return ' or '.join(map(repr, held))
    if kind in (None, type(None)):
        return 'None'
    base = origin or kind
    if not inspect.isclass(base):
        return str(base)
    if base is Number or _is_tensor(base):
        return 'a number'
    if issubclass(base, list | tuple) or base in LISTS:
        inner = dict.fromkeys(described(part) for part in held if part is not Ellipsis)
        return f'a list ({", ".join(inner)})' if inner else 'a list'
    if issubclass(base, Mapping):
        return 'a dict'
    return NAMES.get(base, f'an object of {base.__name__}')


# ------------------------------------------------------------ what could not be built
def building(error: BaseException) -> tuple[dict | None, str] | None:
    """(the dict that was being built when ``error`` was raised, ``file.py:line`` of that); None if
    nothing was: then the error is no matter of the config.
    """
    node, found = None, False
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == 'build_from_cfg':
            node, found = frame.f_locals.get('cfg'), True
        elif frame.f_code.co_name == 'build_dataloader' and not found:
            node, found = frame.f_locals.get('dataloader'), True
    if not found:
        return None
    last = traceback.extract_tb(error.__traceback__)[-1]
    return node if isinstance(node, Mapping) else None, f'{Path(last.filename).name}:{last.lineno}'
