"""Whether what is read of a ``report.json`` has the types that a report has."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from bce3s.datasets.long_tailed import Thresholds
from bce3s.errors import BCE3SError
from bce3s.evaluation.accuracy import COLUMNS

Check = Callable[[Any, str], str | None]  # a value and where it stands -> what is wrong with it

SHOWN = 40  # characters of a wrong value


# ------------------------------------------------------------ single values
def _being(what: str, fits: Callable[[Any], bool]) -> Check:
    def check(value: Any, where: str) -> str | None:
        return None if fits(value) else f'{where} is {_shown(value)}, not {what}'

    return check


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return 'a list' if isinstance(value, list) else 'an object'
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f'{text[:SHOWN]}...'


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _or_null(check: Check) -> Check:
    return lambda value, where: None if value is None else check(value, where)


TEXT = _being('a text', lambda value: isinstance(value, str))
FLAG = _being('true or false', lambda value: isinstance(value, bool))
WHOLE = _being('a whole number', _is_whole)
NUMBER = _being('a number', _is_number)
OBJECT = _being('an object', lambda value: isinstance(value, dict))
LIST = _being('a list', lambda value: isinstance(value, list))


# ------------------------------------------------------------ lists and objects
def _each(check: Check) -> Check:
    def every(value: Any, where: str) -> str | None:
        if wrong := LIST(value, where):
            return wrong
        found = (check(entry, f'{where}[{i}]') for i, entry in enumerate(value))
        return next(filter(None, found), None)

    return every


def _having(needed: Mapping[str, Check], known: Mapping[str, Check] | None = None) -> Check:
    """An object with the keys ``needed``; those that are ``known`` may be missing."""

    def check(value: Any, where: str) -> str | None:
        if wrong := OBJECT(value, where):
            return wrong
        if missing := [key for key in needed if key not in value]:
            return f'{where or "it"} has no {", ".join(missing)}'
        checks = {**needed, **(known or {})}
        at = {key: f'{where}.{key}' if where else key for key in checks}
        found = (checks[key](value[key], at[key]) for key in checks if key in value)
        return next(filter(None, found), None)

    return check


def _thresholds(value: Any, where: str) -> str | None:
    if wrong := _having(dict(many=WHOLE, few=WHOLE))(value, where):
        return wrong
    try:
        Thresholds(**value)
    except (BCE3SError, TypeError) as error:
        return f'{where}: {error}'
    return None


ACCURACIES = dict.fromkeys(COLUMNS, _or_null(NUMBER))
ENTRY = dict(selection=TEXT, tta=FLAG, epoch=_or_null(WHOLE), **ACCURACIES)
ROW = dict(epoch=_or_null(WHOLE), **ACCURACIES)
STAGE = dict(stage=_or_null(WHOLE))
REJECTION = dict(
    threshold=_or_null(NUMBER),
    chosen_on=TEXT,
    measured_on=TEXT,
    cross_fitted=FLAG,
    uniform_accuracy=_or_null(NUMBER),
    false_rejection=_having({}, ACCURACIES),
    accuracy=_having({}, ACCURACIES),
    at_threshold=_having({}, ACCURACIES),
    keep=_each(NUMBER),
)
SUBSET = dict.fromkeys(('sha256', 'list', 'imbalance'), _or_null(TEXT)) | dict(
    imbalance_factor=_or_null(NUMBER)
)
REPORT = _having(
    ENTRY | dict(config=TEXT, seed=WHOLE, other=_each(_having(ENTRY, STAGE))),
    STAGE  # what earlier versions may not have written
    | dict.fromkeys(('accuracy', 'macro_f1'), NUMBER)
    | dict.fromkeys(('dataset', 'split'), TEXT)
    | dict.fromkeys(('config_sha256', 'device', 'precision'), _or_null(TEXT))
    | dict.fromkeys(('max_epochs', 'skipped_steps'), _or_null(WHOLE))
    | dict(
        samples=WHOLE,
        class_counts=_each(WHOLE),
        classes=_each(TEXT),
        per_class=_each(_or_null(NUMBER)),
        thresholds=_thresholds,
        subset=_or_null(_having({}, SUBSET)),
        skipped_images=_or_null(_having({}, dict.fromkeys(('train', 'val', 'test'), WHOLE))),
        rejection=_or_null(_having({}, REJECTION)),
        versions=_or_null(OBJECT),
        history=_or_null(_each(_having(ROW, STAGE | dict(flip_tta=_having(ACCURACIES))))),
    ),
)


# ------------------------------------------------------------ the report
def fault(report: Any) -> str | None:
    """What the first wrong part of a report is, as the end of a sentence; None: nothing is.

    What a report of an earlier version lacks is no fault, but for what every version has.
    """
    if not isinstance(report, dict):
        return f'it is {_shown(report)}, not an object'
    return REPORT(report, '') or _lengths(report)


def _lengths(report: dict[str, Any]) -> str | None:
    """Of the lists with an entry for each class."""
    if 'class_counts' not in report:
        return None
    classes = len(report['class_counts'])
    if not classes:
        return 'class_counts is empty'
    for key in ('classes', 'per_class'):
        if key in report and len(report[key]) != classes:
            return f'{key} has {len(report[key])} entries where class_counts has {classes}'
    return None


def no_constant(name: str) -> NoReturn:
    """For ``json.loads(parse_constant=...)``: NaN and infinities are not JSON, and no figures."""
    raise ValueError(f'{name} is no number')
