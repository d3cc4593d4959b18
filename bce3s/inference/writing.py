"""Predictions as CSV or JSON, written as they come: an interruption keeps what is done."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from bce3s.errors import BCE3SError
from bce3s.files import reason
from bce3s.inference.predictor import Prediction

NONE = 'none of these'
COLUMNS = ('image', 'label', 'known', 'best', 'score', 'logit', 'split')
KINDS = ('.csv', '.json')


class PredictionFile:
    """A context in which predictions are written to a file, each batch as soon as it is there.

    The file is opened at once, so that one that cannot be written to is noticed before the work,
    but an older one keeps its content until :meth:`begin`.

    CSV: ``COLUMNS``, then ``error`` and the further classes with their scores (``class_2``,
    ``score_2``, ...). ``label`` is "none of these" for an image of which ``known`` is 0.
    JSON: ``facts``, ``predictions`` (a list of the fields of :class:`Prediction`, one a line;
    ``label`` is null for none of these), and ``complete``, false after an interruption.

    Args:
        path: ends in ``.csv`` or ``.json``.

    Raises:
        BCE3SError: another ending, or the file cannot be written to, then or later.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        if self.path.suffix.lower() not in KINDS:
            raise BCE3SError(f'{self.path} must end in {" or ".join(KINDS)}.')
        self.json = self.path.suffix.lower() == '.json'
        self.new = not self.path.exists()
        self.begun = self.complete = False
        # bytes of file names that are not UTF-8: themselves in CSV, an escape in JSON
        errors = 'backslashreplace' if self.json else 'surrogateescape'
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.file: TextIO = self.path.open('a', encoding='utf-8', errors=errors, newline='')
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> BCE3SError:
        return BCE3SError(f'{self.path} cannot be written to ({reason(error)}).')

    def __enter__(self) -> PredictionFile:
        return self

    def __exit__(self, kind: type | None, *_: Any) -> None:
        try:
            if self.begun and self.json:
                self.file.write(f'\n], "complete": {json.dumps(kind is None)}}}\n')
            self.file.close()
            if self.new and not self.begun:
                self.path.unlink()
        except OSError as error:
            if kind is None:  # or it would hide why
                raise self._unwritable(error) from error

    def begin(self, facts: dict[str, Any], top: int) -> None:
        """Empties the file and writes what stands before the predictions."""
        try:
            self.file.truncate(0)
            self.begun, self.rows, self.top = True, 0, top
            if self.json:
                head = json.dumps(facts, ensure_ascii=False)[:-1]
                self.file.write(f'{head}, "predictions": [')
            else:
                others = [f'{name}_{k}' for k in range(2, top + 1) for name in ('class', 'score')]
                self._row([*COLUMNS, 'error', *others])
            self.file.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def write(self, predictions: Sequence[Prediction]) -> None:
        """Writes some, to the disk's cache: what this process has written is not lost with it."""
        try:
            for prediction in predictions:
                if self.json:
                    text = json.dumps(vars(prediction), ensure_ascii=False, allow_nan=False)
                    self.file.write((',\n' if self.rows else '\n') + text)
                else:
                    self._row(_cells(prediction, self.top))
                self.rows += 1
            self.file.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def _row(self, cells: Sequence[Any]) -> None:
        csv.writer(self.file, lineterminator='\n').writerow(cells)


def _cells(prediction: Prediction, top: int) -> list[Any]:
    if prediction.error is not None:
        return [
            prediction.image,
            *[''] * (len(COLUMNS) - 1),
            prediction.error,
            *[''] * 2 * (top - 1),
        ]
    values = [prediction.image, prediction.label if prediction.known else NONE]
    values += [int(prediction.known), prediction.best]
    values += [f'{prediction.score:.6g}', f'{prediction.logit:.6g}', prediction.split, '']
    return values + [cell for name, score in prediction.top[1:] for cell in (name, f'{score:.6g}')]
