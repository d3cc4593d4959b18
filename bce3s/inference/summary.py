"""What a person reads on the terminal: a row an image for few, numbers a class for many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bce3s.datasets.checks import printable
from bce3s.inference.predictor import Prediction, Predictor
from bce3s.inference.writing import rejection_label
from bce3s.wording import counted

FEW = 30  # images that get a row each
MOST_CLASSES = 30
LONGEST = 60  # characters of a path


class Summary:
    """Counts predictions; keeps the first ``FEW``.

    Args:
        predictor: that makes them.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor, self.none = predictor, rejection_label(predictor.classes)
        self.first: list[Prediction] = []
        self.classes: Counter[str] = Counter()
        self.images = self.rejected = 0
        self.errors: list[str] = []

    def add(self, predictions: Sequence[Prediction]) -> None:
        self.first += predictions[: FEW + 1 - len(self.first)]
        for prediction in predictions:
            self.images += 1
            if prediction.error is not None:
                self.errors.append(prediction.error)
            elif prediction.known:
                self.classes[prediction.label] += 1
            else:
                self.rejected += 1

    def text(self) -> str:
        """The table of the images, or of the classes where there are many; then the threshold."""
        table = self._images() if self.images <= FEW else self._classes()
        return f'{printable(table)}\n\n{self._about()}'

    def _images(self) -> str:
        rows = [['image', 'label', 'score', 'split', 'next']]
        for prediction in self.first:
            if prediction.error is not None:
                rows.append([_short(prediction.image), 'cannot be read', '-', '-', ''])
                continue
            label = (
                prediction.label
                if prediction.known
                else f'{self.none} (nearest: {prediction.best})'
            )
            others = ', '.join(f'{name} {score:.3f}' for name, score in prediction.top[1:3])
            rows.append(
                [
                    _short(prediction.image),
                    label,
                    f'{prediction.score:.3f}',
                    prediction.split,
                    others,
                ]
            )
        return _aligned(rows, right=(2,))

    def _classes(self) -> str:
        splits = dict(zip(self.predictor.classes, self.predictor.splits, strict=True))
        rows = [['label', 'split', 'images', '%']]
        common = self.classes.most_common()
        for name, number in common[:MOST_CLASSES]:
            rows.append([name, splits[name], f'{number:,}', self._share(number)])
        if rest := common[MOST_CLASSES:]:
            number = sum(number for _, number in rest)
            name = counted(len(rest), 'further class', 'further classes')
            rows.append([name, '', f'{number:,}', self._share(number)])
        if absent := len(splits) - len(common):
            name = f'{counted(absent, "class", "classes")} without an image'
            rows.append([name, '', '0', self._share(0)])
        rows.append([self.none, '', f'{self.rejected:,}', self._share(self.rejected)])
        if self.errors:
            number = len(self.errors)
            rows.append(['cannot be read', '', f'{number:,}', self._share(number)])
        rows.append(['all', '', f'{self.images:,}', self._share(self.images)])
        return _aligned(rows, right=(2, 3))

    def _share(self, number: int) -> str:
        return f'{100 * number / self.images:.1f}'

    def _about(self) -> str:
        rejection = self.predictor.rejection
        what = '' if rejection.threshold is None else f'"{self.none}": '
        return f'Scores are {self.predictor.score} of the logits. {what}{rejection.about}.'


def _short(name: str | int) -> str:
    name = str(name)
    return name if len(name) <= LONGEST else f'...{name[3 - LONGEST :]}'


def _aligned(rows: Sequence[Sequence[str]], right: Sequence[int]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        '  '.join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return '\n'.join([lines[0], '-' * max(map(len, lines)), *lines[1:]])
