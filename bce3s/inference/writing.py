"""Predictions as CSV or JSON, written as they come: an interruption keeps what is done.

A spreadsheet runs cells of a CSV that begin like a formula, and names of files and classes are
anybody's. As OWASP advises ("CSV Injection"), a text that begins with ``=``, ``+``, ``@``, a tab, a
carriage return, or a ``-`` that begins no number, gets a ``'`` before it there. JSON has all texts
as they are.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bce3s.errors import BCE3SError
from bce3s.files import reason
from bce3s.inference.predictor import Prediction

NONE = 'none of these'
COLUMNS = ('image', 'label', 'known', 'best', 'score', 'logit', 'split')
KINDS = ('.csv', '.json')
FORMULA = re.compile(r'[=+@\t\r]|-(?!\d+(\.\d+)?$)')


def rejection_label(classes: Sequence[str]) -> str:
    """What stands for an image of no class; in brackets where a class is called so.

    >>> rejection_label(['cat', 'dog']), rejection_label(['cat', 'None of these'])
    ('none of these', '(none of these)')
    """
    label, names = NONE, {name.casefold() for name in classes}
    while label in names:
        label = f'({label})'
    return label


class PredictionFile:
    """A context in which predictions are written to a file, each batch as soon as it is there.

    The file is opened at once, so that one that cannot be written to is noticed before the work,
    but an older one keeps its content until :meth:`begin`. From then on it is sound after every
    batch, and also where the disk is full or the process was killed between two of them: a CSV ends
    with a whole row, JSON can be parsed.

    CSV: ``COLUMNS``, then ``error`` and the further classes with their scores (``class_2``,
    ``score_2``, ...). ``label`` is :func:`rejection_label` for an image of which ``known`` is 0.
    JSON: ``facts``, ``predictions`` (a list of the fields of :class:`Prediction`, one a line;
    ``label`` is null for none of these), and ``complete``, false after an interruption.

    Args:
        path: ends in ``.csv`` or ``.json``.

    Raises:
        BCE3SError: another ending, what is no regular file, or the file cannot be written to, then
            or later.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        if self.path.suffix.lower() not in KINDS:
            raise BCE3SError(f'{self.path} must end in {" or ".join(KINDS)}.')
        self.json = self.path.suffix.lower() == '.json'
        # bytes of file names that are not UTF-8: themselves in CSV, an escape in JSON
        self.errors = 'backslashreplace' if self.json else 'surrogateescape'
        self.ends: list[int] = []  # where records of the batch end; the first: those before it
        try:
            self.new = not self.path.exists()
            if not self.new and not self.path.is_file() and not self.path.is_dir():
                raise BCE3SError(f'{self.path} is no regular file: give another --out.')
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # no 'a', which writes to the end only; no buffer, or nobody knew what is written
            self.file = self.path.open('rb+' if not self.new else 'xb+', buffering=0)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> BCE3SError:
        return BCE3SError(f'{self.path} cannot be written to ({reason(error)}).')

    def __enter__(self) -> PredictionFile:
        return self

    def __exit__(self, kind: type | None, *_: Any) -> None:
        try:
            with self.file:
                if self.ends:
                    self._end(complete=kind is None)
            if self.new and not self.ends:
                self.path.unlink()
        except OSError as error:
            if kind is None:  # or it would hide why
                raise self._unwritable(error) from error

    def begin(self, facts: dict[str, Any], top: int) -> None:
        """Empties the file and writes what stands before the predictions; ``facts`` may
        have ``classes``.
        """
        self.rows, self.top, self.none = 0, top, rejection_label(facts.get('classes', ()))
        if self.json:
            head = json.dumps(facts, ensure_ascii=False)[:-1] + ', "predictions": ['
        else:
            others = [f'{name}_{k}' for k in range(2, top + 1) for name in ('class', 'score')]
            head = _line([*COLUMNS, 'error', *others])
        try:
            self.file.truncate(0)
            begun = self._put(head, 0)
            self._put(self._tail(False), begun)
            self.ends = [begun]
        except OSError as error:
            with suppress(OSError):
                self.file.truncate(0)
            raise self._unwritable(error) from error

    def write(self, predictions: Sequence[Prediction]) -> None:
        """Writes some, to the disk's cache: what this process has written is not lost with it."""
        del self.ends[:-1]
        try:
            for prediction in predictions:
                self.ends.append(self._put(self._record(prediction), self.ends[-1]))
                self.rows += 1
            self._put(self._tail(False), self.ends[-1])
        except OSError as error:
            raise self._unwritable(error) from error

    def _record(self, prediction: Prediction) -> str:
        if not self.json:
            return _line(_cells(prediction, self.top, self.none))
        text = json.dumps(vars(prediction), ensure_ascii=False, allow_nan=False)
        return (',\n' if self.rows else '\n') + text

    def _tail(self, complete: bool) -> str:
        return f'\n], "complete": {json.dumps(complete)}}}\n' if self.json else ''

    def _put(self, text: str, at: int) -> int:
        """Writes ``text`` and returns where it ends."""
        data = text.encode('utf-8', self.errors)
        self.file.seek(at)
        while data:  # a disk that becomes full takes a part first
            data = data[self.file.write(data) :]
        return self.file.tell()

    def _end(self, complete: bool) -> None:
        """Behind the last record that has room for the end of the file behind it; what came before
        the batch has, for an end stood there.
        """
        for at in reversed(self.ends):
            try:
                self.file.truncate(self._put(self._tail(complete), at))
                return
            except OSError as error:
                failed = error
        raise failed


def _line(cells: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator='\r\n').writerow(cells)  # or it would not quote a CR
    return text.getvalue()[:-2] + '\n'


def _cells(prediction: Prediction, top: int, none: str) -> list[Any]:
    image = _harmless(str(prediction.image))
    if prediction.error is not None:
        blank = [''] * (len(COLUMNS) - 1)
        return [image, *blank, _harmless(prediction.error), *[''] * 2 * (top - 1)]
    values = [image, _harmless(prediction.label) if prediction.known else none]
    values += [int(prediction.known), _harmless(prediction.best)]
    values += [f'{prediction.score:.6g}', f'{prediction.logit:.6g}', prediction.split, '']
    others = [(_harmless(name), f'{score:.6g}') for name, score in prediction.top[1:]]
    return values + [cell for pair in others for cell in pair]


def _harmless(text: str) -> str:
    """What no spreadsheet takes for a formula."""
    return f"'{text}" if FORMULA.match(text) else text
