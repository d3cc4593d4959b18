"""Predictions for a file (CSV or JSON Lines) and for the terminal."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from bce3s.datasets.checks import printable
from bce3s.errors import BCE3SError
from bce3s.evaluation.rejection_scores import MAX_LOGIT
from bce3s.files import reason
from bce3s.inference.inputs import Name
from bce3s.inference.labels import LabelPrediction, separator
from bce3s.inference.predictor import Prediction, Predictor
from bce3s.tables import text_table
from bce3s.wording import counted

NONE, NO_LABEL = 'none of these', 'no label'
COLUMNS = (
    *('image', 'label', 'known', 'best', 'score', 'logit', 'compared', 'threshold'),
    *('split', 'error'),
)
LABEL_COLUMNS = ('image', 'labels', 'scores', 'error')  # of several labels an image
KINDS = ('.csv', '.jsonl')
# A spreadsheet runs cells that begin so, and names of files and classes are anybody's (OWASP, "CSV
# Injection"): they get a ' before them in a CSV.
FORMULA = re.compile(r'[=+@\t\r]|-(?!\d+(\.\d+)?(e[-+]\d+)?$)')
FEW = 30  # images that get a row each on the terminal
MOST_CLASSES = 30
LONGEST = 60  # characters of a path


def rejection_label(classes: Sequence[str], label: str = NONE) -> str:
    """What stands for an image of no class; in brackets where a class is called so.

    >>> rejection_label(['cat', 'dog']), rejection_label(['cat', 'None of these'])
    ('none of these', '(none of these)')
    """
    names = {name.casefold() for name in classes}
    while label in names:
        label = f'({label})'
    return label


# -------------------------------------------------------------------------------------------- file
class PredictionFile:
    """Predictions, written as they come: what is there when a run is killed ends with a whole row.

    CSV: ``COLUMNS``, then the further classes with their scores (``class_2``, ``score_2``, ...);
    ``label`` is :func:`rejection_label` for an image of which ``known`` is 0, and ``threshold`` is
    empty where there is none. JSON Lines: the fields of :class:`Prediction`; ``label`` is null for
    none of these.

    Of images with several labels, CSV: ``LABEL_COLUMNS``, labels and their scores with a separator
    in between (``;`` unless a name has one), both empty for none; then the most likely classes with
    their scores (``class_1``, ``score_1``, ...). JSON Lines: the fields of
    :class:`~bce3s.inference.labels.LabelPrediction`.

    Args:
        path: ends in ``.csv`` or ``.jsonl``; an older file keeps its content until :meth:`begin`.

    Raises:
        BCE3SError: another ending, or the file cannot be written to, then or later.
    """

    file: BinaryIO

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.csv = self.path.suffix.lower() == '.csv'
        if self.path.suffix.lower() not in KINDS:
            raise BCE3SError(f'{self.path} must end in {" or ".join(KINDS)}.')
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        if self.path.exists() and not self.path.is_file():  # a pipe would be waited for
            raise BCE3SError(f'{self.path} is no regular file: give another --out.')
        if not os.access(self.path if self.path.exists() else self.path.parent, os.W_OK):
            raise self._unwritable(PermissionError(errno.EACCES, os.strerror(errno.EACCES)))

    def begin(self, classes: Sequence[str], top: int, several: bool = False) -> None:
        """Empties the file and writes the header.

        Args:
            classes: names of all. top: how many a prediction has.
            several: whether an image may have several labels.
        """
        self.none, self.separator, self.top = rejection_label(classes), separator(classes), top
        columns, first = (LABEL_COLUMNS, 1) if several else (COLUMNS, 2)
        try:
            self.file = self.path.open('wb', buffering=0)
        except OSError as error:
            raise self._unwritable(error) from error
        if self.csv:
            others = [f'{name}_{k}' for k in range(first, top + 1) for name in ('class', 'score')]
            self._put(_csv_line([*columns, *others]))

    def write(self, predictions: Sequence[Prediction | LabelPrediction]) -> None:
        """Writes a batch to the disk's cache: what this process has written is not lost with it."""
        if self.csv:
            self._put(''.join(_csv_line(self._cells(p)) for p in predictions))
        else:
            rows = (json.dumps(vars(p), ensure_ascii=False, allow_nan=False) for p in predictions)
            self._put(''.join(f'{row}\n' for row in rows))

    def close(self) -> None:
        """Ends it."""
        if hasattr(self, 'file'):
            self.file.close()

    def _put(self, text: str) -> None:
        """The whole text, or none of it where the disk is full."""
        # bytes of file names that are not UTF-8: themselves in CSV, an escape in JSON
        data = text.encode('utf-8', 'surrogateescape' if self.csv else 'backslashreplace')
        start = self.file.tell()
        try:
            while data:  # a disk that becomes full takes a part first
                data = data[self.file.write(data) :]
        except OSError as error:
            self.file.truncate(start)
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> BCE3SError:
        return BCE3SError(f'{self.path} cannot be written to ({reason(error)}).')

    def _cells(self, p: Prediction | LabelPrediction) -> list[Any]:
        if isinstance(p, LabelPrediction):
            scores = (f'{score:.6g}' for score in p.scores)
            others = [cell for name, score in p.top for cell in (name, f'{score:.6g}')]
            others += [''] * (2 * self.top - len(others))
            joined = (self.separator.join(cells) for cells in (p.labels, scores))
            return [p.image, *joined, p.error or '', *others]
        if p.error is not None:
            blanks = [''] * (len(COLUMNS) - 2)
            return [p.image, *blanks, p.error, *[''] * 2 * (self.top - 1)]
        label = p.label if p.known else self.none
        numbers = p.score, p.logit, p.compared, p.threshold
        scores = ['' if number is None else f'{number:.6g}' for number in numbers]
        others = [cell for name, score in p.top[1:] for cell in (name, f'{score:.6g}')]
        return [p.image, label, int(p.known), p.best, *scores, p.split, '', *others]


def _csv_line(cells: Sequence[Any]) -> str:
    text = io.StringIO()
    safe = [f"'{cell}" if FORMULA.match(str(cell)) else cell for cell in cells]
    csv.writer(text, lineterminator='\r\n').writerow(safe)  # or it would not quote a CR
    return text.getvalue()[:-2] + '\n'


# ---------------------------------------------------------------------------------------- terminal
class Summary:
    """A row an image for few, numbers a class for many.

    Args:
        predictor: that makes the predictions.
    """

    def __init__(self, predictor: Predictor) -> None:
        none = NO_LABEL if predictor.several else NONE
        self.predictor, self.none = predictor, rejection_label(predictor.classes, none)
        self.first: list[Prediction | LabelPrediction] = []
        self.classes: Counter[str] = Counter()
        self.images = self.rejected = 0
        self.errors: list[str] = []

    def add(self, predictions: Sequence[Prediction | LabelPrediction]) -> None:
        """Counts some, and keeps the first ``FEW`` of all."""
        self.first += predictions[: FEW + 1 - len(self.first)]
        for prediction in predictions:
            self.images += 1
            if prediction.error is not None:
                self.errors.append(prediction.error)
                continue
            if isinstance(prediction, LabelPrediction):
                labels = prediction.labels
            else:
                labels = (prediction.label,) if prediction.known else ()
            self.classes.update(labels)
            self.rejected += not labels

    def text(self) -> str:
        """The table of the images, or of the classes where there are many; then the threshold."""
        rows = self._label_table if self.predictor.several else self._image_table
        table = rows() if self.images <= FEW else self._class_table()
        rejection = self.predictor.rejection
        if self.predictor.several:
            about = f'Scores are sigmoids of the logits: {rejection.about}.'
            return f'{printable(table)}\n\n{about}'
        what = '' if rejection.threshold is None else f'"{self.none}": '
        if what and self.predictor.score == 'sigmoid' and rejection.score == MAX_LOGIT:
            one = isinstance(rejection.threshold, float)
            limits = [rejection.threshold] if one else rejection.threshold
            # exp would overflow
            scores = [(1 + math.tanh(t / 2)) / 2 for t in limits if t is not None]
            what = f'"{self.none}" (scores up to {max(scores):.3f}): '
        about = f'Scores are {self.predictor.score} of the logits. {what}{rejection.about}.'
        return f'{printable(table)}\n\n{about}'

    def _label_table(self) -> str:
        """Of several labels an image."""
        rows = []
        for p in self.first:
            labels = (f'{k} {s:.3f}' for k, s in zip(p.labels, p.scores, strict=True))
            others = (f'{k} {s:.3f}' for k, s in p.top if k not in p.labels)
            said = 'cannot be read' if p.error is not None else ', '.join(labels) or self.none
            rows.append([_short(p.image), said, ', '.join([*others][:2])])
        return text_table(['image', 'labels', 'next'], rows)

    def _image_table(self) -> str:
        rows = []
        for p in self.first:
            name = _short(p.image)
            if p.error is not None:
                rows.append([name, 'cannot be read', '-', '-', ''])
                continue
            label = p.label if p.known else self.none
            label += '' if p.label == p.best else f' (nearest: {p.best})'
            others = ', '.join(f'{other} {score:.3f}' for other, score in p.top[1:3])
            rows.append([name, label, f'{p.score:.3f}', p.split, others])
        return text_table(['image', 'label', 'score', 'split', 'next'], rows, right=(2,))

    def _class_table(self) -> str:
        splits = dict(zip(self.predictor.classes, self.predictor.splits, strict=True))
        common = self.classes.most_common()
        rest = common[MOST_CLASSES:]
        absent = len(splits.keys() - self.classes.keys())
        rows = [
            (name, splits.get(name, 'parent'), number) for name, number in common[:MOST_CLASSES]
        ]
        if rest:
            name = counted(len(rest), 'further class', 'further classes')
            rows.append((name, '', sum(number for _, number in rest)))
        if absent:
            rows.append((f'{counted(absent, "class")} without an image', '', 0))
        rows.append((self.none, '', self.rejected))
        if self.errors:
            rows.append(('cannot be read', '', len(self.errors)))
        rows.append(('all', '', self.images))
        cells = [[name, at, f'{n:,}', f'{100 * n / self.images:.1f}'] for name, at, n in rows]
        return text_table(['label', 'split', 'images', '%'], cells, right=(2, 3))


def _short(name: Name) -> str:
    text = str(name)
    return text if len(text) <= LONGEST else f'...{text[3 - LONGEST :]}'
