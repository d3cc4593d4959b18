"""Values of a config: what text stands for, whether a value is of the kind that its reader
declares, and which of them something could not be built with.
"""

from __future__ import annotations

import ast
import collections.abc
import functools
import inspect
import traceback
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union

from bce3s.errors import BCE3SError

# What has a narrower range than its type: below it a run would train nothing, or never validate.
LEAST = {
    'max_epochs': 1,
    'val_interval': 1,
    'batch_size': 1,
    'num_workers': 0,
    'num_classes': 1,
    'max_norm': 0,
}
FURTHER = {'seed': {int, type(None)}}  # that nothing declares
NAMES = {
    int: 'an integer',
    float: 'a number',
    bool: 'True or False',
    str: 'text',
    list: 'a list',
    dict: 'a dict',
    type(None): 'None',
}
# Modules whose annotations say what is taken. Those of mmpretrain and of MMEngine's other parts
# often do not: `Tuple[int]` of any length, `dict` for a list of them, `str` for a number.
TRUSTED = ('bce3s.', 'mmengine.runner.', 'torch.optim.', 'torch.utils.data.')
DEEPEST_VALUE = 20  # brackets in brackets


# ------------------------------------------------------------ text -> value
def parse_value(text: str) -> Any:
    """What ``KEY=TEXT`` sets, as OpenMMLab reads it, and more of Python.

    A number, ``True``, ``False``, ``None`` or text; with commas or in ``[...]`` a list, in
    ``(...)`` a tuple; a dict as ``dict(type='X', a=1)`` or ``{'type': 'X'}``; in each other as
    often as wanted. Names need no quotes; what is in quotes is text, commas and brackets included.

    Raises:
        BCE3SError: brackets that do not belong together, or more than 20 deep.
    """
    text = text.strip()
    elements = _split(text)
    if len(elements) > 1 or text.endswith(','):
        return [parse_value(element) for element in elements]
    if text.startswith(('"', "'", '[', '(', '{', 'dict(')):
        try:
            return _of_python(ast.parse(text, mode='eval').body)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            pass  # such as [/a/path, b]
    for opening, closing, kind in (('[', ']', list), ('(', ')', tuple)):
        if text.startswith(opening) and text.endswith(closing) and len(text) > 1:
            return kind(parse_value(element) for element in _split(text[1:-1]))
    return parse_scalar(text)


def parse_scalar(text: str) -> Any:
    """A number, True, False, None, or else the text, without quotes around it."""
    from mmengine.config import DictAction

    return DictAction._parse_int_float_bool(text.strip(' \'"'))


def parse_text(text: str) -> str | None:
    """What is text whatever it looks like; quotes around the whole are Python's."""
    if text == 'None':
        return None
    if text[:1] in ('"', "'"):
        try:
            value = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            return text
        return value if isinstance(value, str) else text
    return text


def _of_python(node: ast.expr) -> Any:
    """The value of an expression of literals, ``dict(...)`` and names, which are text.

    Raises:
        ValueError: it has anything else in it.
    """
    if isinstance(node, ast.List):
        return [_of_python(element) for element in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_of_python(element) for element in node.elts)
    if isinstance(node, ast.Dict) and None not in node.keys:
        pairs = zip(node.keys, node.values, strict=True)
        return {str(_of_python(key)): _of_python(value) for key, value in pairs}
    called = isinstance(node, ast.Call) and not node.args and ast.unparse(node.func) == 'dict'
    if called and all(word.arg for word in node.keywords):
        return {word.arg: _of_python(word.value) for word in node.keywords}
    if isinstance(node, ast.Name | ast.Attribute):
        return parse_scalar(ast.unparse(node))
    return ast.literal_eval(node)


def _split(text: str) -> list[str]:
    """The parts between the commas that are in no bracket and no quotes; one comma at the end ends
    the last.
    """
    closing, depth, start, parts = {'[': ']', '(': ')'}, [], 0, []
    quote, before = '', ''  # the one that is open, and the last sign that is no blank
    for at, character in enumerate(text):
        if quote:
            quote = '' if character == quote and text[at - 1] != '\\' else quote
        elif character in '\'"' and before in ('', *',[({=:') and character in text[at + 1 :]:
            quote = character
        elif character in closing:
            depth.append(closing[character])
        elif character in closing.values():
            if not depth or depth.pop() != character:
                raise BCE3SError(f'Imbalanced brackets: {character!r} closes none')
        elif character == ',' and not depth and '{' not in text:
            parts.append(text[start:at])
            start = at + 1
        if len(depth) > DEEPEST_VALUE:
            raise BCE3SError(f'brackets lie more than {DEEPEST_VALUE} deep in each other')
        before = character if not character.isspace() else before
    if depth:
        raise BCE3SError(f'Imbalanced brackets: {depth[-1]!r} is missing')
    return [*parts, text[start:]] if text[start:].strip() else parts


# ------------------------------------------------------------ value against annotation
def wrong_values(targets: Sequence[Callable], node: Mapping) -> Iterator[tuple[str, str]]:
    """(key, what is expected) of each value in ``node`` that no one of ``targets`` takes."""
    declared = [_kinds_of_arguments(target, TRUSTED) for target in targets]
    for key, value in node.items():
        if key == 'type' and not (value if isinstance(value, str) else callable(value)):
            yield key, 'the name of a class or function'
        least = LEAST.get(key)
        if least is not None and _is(value, float) and not value >= least:
            yield key, f'at least {least}'
        kinds = [found[key] for found in declared if key in found and key != 'init_cfg']
        if key in FURTHER:
            kinds = [FURTHER[key]]
        if kinds and not any(any(_is(value, kind) for kind in each) for each in kinds):
            yield key, ' or '.join(name for kind, name in NAMES.items() if kind in kinds[0])


def takes_text_only(targets: Sequence[Callable], key: str) -> bool:
    """Whether all that read ``key`` declare it as text (``str``, ``Path``, or None)."""
    kinds = [hints.get(key) for hints in map(_kinds_of_arguments, targets)]
    return bool(kinds) and all(each and str in each and each <= {str, type(None)} for each in kinds)


@functools.cache
def _kinds_of_arguments(target: Callable, modules: tuple[str, ...] = ('',)) -> dict:
    """Argument of a class or function -> set of what it takes, where that can be told, of
    constructors that are defined in ``modules`` (prefixes of their names).
    """
    functions = [target]
    if inspect.isclass(target):
        functions = [vars(c)['__init__'] for c in target.__mro__[:-1] if '__init__' in vars(c)]
    found: dict[str, set[type]] = {}
    for function in functions:
        trusted = f'{getattr(function, "__module__", "")}.'.startswith(modules)
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):  # written in C, without a signature
            continue
        for parameter in parameters:
            kinds = _kinds(_evaluated(parameter.annotation, function)) if trusted else None
            if kinds is not None and parameter.default is None:
                kinds = kinds | {type(None)}  # `x: int = None` is written often
            found.setdefault(parameter.name, kinds)
    return {name: kinds for name, kinds in found.items() if kinds}


def _evaluated(annotation: Any, function: Callable) -> Any:
    if not isinstance(annotation, str):
        return annotation
    try:  # source code of an installed module, never a config's
        return eval(annotation, dict(getattr(function, '__globals__', {})))
    except Exception:  # names for type checkers only
        return inspect.Parameter.empty


def _kinds(hint: Any) -> set[type] | None:
    """Those of ``NAMES`` that an annotation comes to in a config; None: that cannot be told. What
    may be a dict is built from it, so that objects beside it are for code.
    """
    origin, held = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        parts = [_kinds(part) for part in held]
        known = set().union(*(part for part in parts if part))
        return known if None not in parts or dict in known else None
    if origin is Literal:
        return {type(value) for value in held}
    base = origin or hint
    if not inspect.isclass(base):
        return {type(None)} if hint is None else None
    if base in NAMES:
        return {base}
    if issubclass(base, Path):
        return {str}
    if base.__name__ == 'Tensor':
        return {float}
    if issubclass(base, Mapping):
        return {dict}
    if issubclass(base, tuple) or base in (Sequence, collections.abc.Iterable):
        return {list}
    return None


def _is(value: Any, kind: type) -> bool:
    if kind is bool:
        return isinstance(value, bool) or value in (0, 1)
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    if kind is str:
        return isinstance(value, str | Path)
    return isinstance(value, {list: list | tuple, dict: Mapping}.get(kind, kind))


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
