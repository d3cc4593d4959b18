"""Predictions of new images -> one HTML file of pictures: first those to look at."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from bce3s.datasets.checks import printable
from bce3s.inference.labels import LabelPrediction
from bce3s.page.content import Cell, Gallery, Section, Table
from bce3s.page.pictures import Pictures
from bce3s.page.writing import check_writable, write_page
from bce3s.plotting import SPLIT_COLOURS
from bce3s.wording import counted

if TYPE_CHECKING:
    from bce3s.inference.predictor import Prediction, Predictor

FIRST = 24  # pictures of none of the classes, and of the doubtful ones
SHOWN = 12  # pictures of a class at most
MOST = 240  # pictures of all classes together: with the others about 1.3 MB
LEAD = 0.2  # an image is doubtful if its best score is less than this above the next one
LABELS = 4  # of an image
ERRORS = 10  # sentences on images that cannot be read
PARTS = {
    'none': (
        'None of these',
        'Images of which no score is high enough, those with the highest ones first.',
    ),
    'broad': (
        'Only the parent is sure',
        'Images of which no class is sure, but what several of them belong to (parents.csv).',
    ),
    'doubtful': (
        'Doubtful',
        f'Images whose best score is less than {LEAD:g} above the next one, the least lead first.',
    ),
    'sure': ('By class', 'All others; in each class the lowest scores first.'),
}
LABEL_PARTS = {
    'none': (
        'No label',
        'Images of which no score is above its threshold, those with the highest ones first.',
    ),
    'sure': ('By label', 'An image stands at each of its labels; the lowest scores first.'),
}


class Least:
    """The items with the smallest keys among all that were added, those that came first first.

    Args:
        limit: how many are kept.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.number = limit, 0
        self._heap: list[tuple[float, int, Prediction]] = []

    def add(self, key: float, item: Prediction) -> None:
        """Keeps it if it is one of them."""
        self.number += 1
        entry = -key, -self.number, item
        push = heapq.heappush if len(self._heap) < self.limit else heapq.heappushpop
        push(self._heap, entry)

    @property
    def items(self) -> list[Prediction]:
        """In the order of their keys."""
        return [item for _, _, item in sorted(self._heap, key=lambda e: (-e[0], -e[1]))]


class PredictionPage:
    """Takes predictions as they come and keeps those that will be shown, so that a million images
    need no more memory than ``SHOWN`` of each class.

    Args:
        path: of the page, NAME.html.

    Raises:
        BCE3SError: another ending, or it cannot be written, then or later.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        check_writable(self.path, '--page')
        self.none, self.broad, self.doubtful = Least(FIRST), Least(FIRST), Least(FIRST)
        self.sure: dict[str, Least] = {}
        self.classes: Counter[str] = Counter()
        self.unclear: Counter[str] = Counter()  # doubtful ones, by class
        self.images = 0
        self.errors: list[str] = []
        self.unreadable = 0

    def add(self, predictions: Sequence[Prediction | LabelPrediction]) -> None:
        """Takes some."""
        for p in predictions:
            self.images += 1
            if p.error is not None:
                self.unreadable += 1
                self.errors += [p.error] if len(self.errors) < ERRORS else []
            elif isinstance(p, LabelPrediction):
                self._add_labels(p)
            elif not p.known:
                self.none.add(-p.score, p)
            elif p.broad:
                self.broad.add(p.score, p)
            else:
                self.classes[p.label] += 1
                lead = p.score - (p.top[1][1] if len(p.top) > 1 else 0.0)
                if lead < LEAD:
                    self.unclear[p.label] += 1
                    self.doubtful.add(lead, p)
                else:
                    self.sure.setdefault(p.label, Least(SHOWN)).add(p.score, p)

    def _add_labels(self, p: LabelPrediction) -> None:
        self.classes.update(p.labels)
        if not p.labels:
            self.none.add(-p.top[0][1], p)
        for label, score in zip(p.labels, p.scores, strict=True):
            self.sure.setdefault(label, Least(SHOWN)).add(score, p)

    def write(self, predictor: Predictor) -> str:
        """Writes the page; gives where it is, and how many pictures are on it.

        Args:
            predictor: that made the predictions.
        """
        from bce3s.page.page import html

        sections = self.sections(predictor)
        title = f'{predictor.run.folder.resolve().name}: {counted(self.images, "new image")}'
        shown = sum(len(each.pictures) for section in sections for each in section.galleries)
        where = write_page(self.path, html(title, sections), '--page')
        return f'{where}: {counted(shown, "picture")} of {counted(self.images, "image")}'

    def sections(self, predictor: Predictor) -> list[Section]:
        """An overview; those of none of the classes; the doubtful ones; the others, by class."""
        present = [name for name in predictor.classes if name in self.sure]
        each = max(min(MOST // max(len(present), 1), SHOWN), 1)
        parts = [
            ('none', '', self.none, FIRST),
            ('broad', '', self.broad, FIRST),
            ('doubtful', '', self.doubtful, FIRST),
            *(('sure', name, self.sure[name], each) for name in present[:MOST]),
        ]
        chosen = [(key, title, kept, kept.items[:most]) for key, title, kept, most in parts]
        pictures = Pictures([str(p.image) for *_, items in chosen for p in items])
        places, galleries = count(), {}
        for key, title, kept, items in chosen:
            shown = [pictures.picture(next(places), *_lines(p, title)) for p in items]
            if shown:
                made = Gallery(title, _caption(kept.number, len(shown)), shown)
                galleries.setdefault(key, []).append(made)
        notes = pictures.notes(str(self.path.name))
        if (more := len(present) - MOST) > 0:
            notes.append(f'{counted(more, "further class")} without a picture here.')
        return [
            self._overview(predictor, notes),
            *(
                Section(key, title, text, galleries=galleries[key])
                for key, (title, text) in (LABEL_PARTS if predictor.several else PARTS).items()
                if key in galleries
            ),
        ]

    def _overview(self, predictor: Predictor, notes: list[str]) -> Section:
        rejection = predictor.rejection
        if predictor.several:
            said = f'{self.none.number:,} without a label'
            about = f'sigmoids of the logits: {rejection.about}'
        else:
            broad = f' {self.broad.number:,} of which only the parent is sure,'
            said = (
                f'{self.none.number:,} of none of the classes,{broad if self.broad.number else ""} '
                f'{self.doubtful.number:,} doubtful'
            )
            none = '' if rejection.threshold is None else '"None of these": '
            about = f'{predictor.score} of the logits. {none}{rejection.about}'
        text = (
            f'{counted(self.images, "image")}: {said}, {self.unreadable:,} that cannot be read. '
            f'Scores are {about}.'
        )
        rows = [
            [
                name,
                Cell(split.capitalize(), SPLIT_COLOURS[split]),
                f'{self.classes[name]:,}',
                f'{self.unclear[name]:,}',
            ]
            for name, split in zip(predictor.classes, predictor.splits, strict=True)
            if self.classes[name]
        ]
        header = ['Class', 'Split', 'Images', 'Doubtful']
        if predictor.several:
            header, rows = header[:-1], [row[:-1] for row in rows]
        tables = [Table(header, rows, left=2, interactive=True)] if rows else []
        notes = [*notes, *map(printable, self.errors)]
        if (more := self.unreadable - len(self.errors)) > 0:
            notes.append(f'{more:,} more cannot be read.')
        return Section('overview', 'Overview', text, tables=tables, notes=notes)


def _lines(p: Prediction | LabelPrediction, label: str) -> list[str]:
    """What it is called, and the best classes; of several labels that where it stands first."""
    if isinstance(p, LabelPrediction):
        scores = dict(zip(p.labels, p.scores, strict=True)) or dict(p.top[:2])
        first = [label] if label else []
        names = [*first, *(name for name in scores if name != label)]
        lines = [f'{name} {scores[name]:.3f}' for name in names[:LABELS]]
        return lines if p.labels else [f'nearest: {lines[0]}', *lines[1:]]
    best = f'{p.best} {p.score:.3f}'
    if p.broad:
        return [p.label, *(f'{k} {s:.3f}' for k, s in p.top[:2])]
    return [best if p.known else f'nearest: {best}', *(f'{k} {s:.3f}' for k, s in p.top[1:2])]


def _caption(number: int, shown: int) -> str:
    more = f', of which {number - shown:,} are not shown' if number > shown else ''
    return f'{counted(number, "image")}{more}'
