"""Several labels an image: what the thresholds of the classes do, and pictures of errors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bce3s.evaluation.accuracy import COLUMNS
from bce3s.evaluation.multi_label_report import (
    F1_AT,
    F1_HEADER,
    decisions_sentence,
    probability,
    untested_sentence,
)
from bce3s.page.content import Figure, Gallery, Section, Table
from bce3s.page.gallery import SHOWN, pictures_section
from bce3s.page.runs import Group, PageRun, grouped
from bce3s.plotting import DASHED, new_figure
from bce3s.tables import mean_std
from bce3s.wording import counted

NAMED = 4  # labels below a picture
RANKINGS = {
    'micro_ap': 'Micro AP (%)',
    'label_ranking_ap': 'Label ranking AP (%)',
    'ranking_loss': 'Ranking loss (%)',
    'coverage_error': 'Coverage error (labels)',
}
TEXT = """\
Ranking loss is the share of pairs of a label that an image has and one that it has not which are in
the wrong order; coverage error, how far down its ranking one has to go for all its labels; label
ranking AP, the mean over its labels of how many of those ranked as high are its own."""


def label_decisions(runs: list[PageRun]) -> Section:
    """F1 at the thresholds of the classes and at probability 0.5, and figures of rankings."""
    groups = grouped(runs)
    rows = [
        [
            group.cell,
            name,
            *(_over_seeds(group, key, column) for column in (*COLUMNS, 'micro')),
        ]
        for group in groups
        for key, name in F1_AT.items()
    ]
    tables = [Table(['Runs', *F1_HEADER], rows, 'F1 (%)', left=2)]
    rows = [
        [group.cell, *(mean_std([run.report[key] for run in group.runs]) for key in RANKINGS)]
        for group in groups
    ]
    tables.append(Table(['Runs', *RANKINGS.values()], rows, 'All classes together'))
    said = [f'{group.title}: {decisions_sentence(group.report)}' for group in groups]
    notes = [
        f'{group.name}: {sentence}'
        for group in groups
        if (sentence := untested_sentence(group.report))
    ]
    title, text = 'Labels above their thresholds', '\n\n'.join([*said, TEXT])
    return Section('labels', title, text, [_figure(groups)], tables, notes)


def _over_seeds(group: Group, key: str, column: str) -> str:
    return mean_std([run.report['decisions'][key][column] for run in group.runs])


def _figure(groups: list[Group]) -> Figure:
    """F1 by split: solid at the thresholds of the classes, dashed at 0.5."""
    figure, axes = new_figure(4.8, 3.0)
    shown = [c for c in COLUMNS if groups[0].report['decisions']['f1'][c] is not None]
    for group in groups:
        for key, dashes in (('f1', '-'), ('f1_half', DASHED)):
            means = [
                group.over_seeds(lambda run, key=key, c=c: run.report['decisions'][key][c])
                for c in shown
            ]
            values = np.array(means, dtype=float)  # None becomes NaN
            look = dict(color=group.colour, linestyle=dashes, marker='o', markersize=4)
            axes.plot(range(len(shown)), values, clip_on=False, **look)
    axes.set_xticks(range(len(shown)), [column.capitalize() for column in shown])
    axes.set(ylim=(0, 100), yticks=range(0, 101, 20), ylabel='F1 (%)')
    axes.grid(axis='y')
    caption = 'Solid: at the thresholds of the classes; dashed: at probability 0.5.'
    return Figure.of(figure, 'F1 by split', caption, key=[group.cell for group in groups])


# ----------------------------------------------------------------------------------------- pictures
def label_gallery(runs: list[PageRun]) -> Section | None:
    """For the first seed of the first groups: labels that are called and wrong, and labels that are
    missed; None: there are no images at hand, or none of these.
    """
    below = (
        'the label that is wrong or missed in bold, with its score and the threshold, then the '
        'labels that it has'
    )
    return pictures_section(runs, lambda group: [*_galleries(group)], lambda _: below)


def _galleries(group: Group) -> Iterator[Gallery]:
    run = group.runs[0]
    labels, logits = run.outputs.labels, run.outputs.logits
    limits = np.array(run.report['decisions']['thresholds'])
    above = logits - limits  # how far above its threshold
    called = above > 0
    wrong, missed = called & (labels == 0), ~called & (labels == 1)
    few = group.splits == 'few'
    rare = few if few.any() else np.ones(len(few), dtype=bool)
    what = 'labels of Few classes' if few.any() else 'labels'
    kinds = (
        ('The surest wrong labels', wrong, -above, 'wrong labels', '; the surest first'),
        ('The missed labels', missed & rare, above, f'missed {what}', '; the lowest scores first'),
    )
    for title, found, key, name, order in kinds:
        places = _first_of_images(found, key)
        pictures = [
            run.pictures.picture(i, *_lines(group, labels[i], logits[i], k, limits[k]))
            for i, k in places
        ]
        if pictures:
            number, images = int(found.sum()), len(labels)
            caption = f'{number:,} {name} in {counted(images, "image")}{order}, one an image.'
            yield Gallery(title, caption, pictures)


def _first_of_images(found: NDArray[np.bool_], key: NDArray) -> list[tuple[int, int]]:
    """Pairs (image, class) that were found, those with the lowest key first, one an image."""
    images, classes = np.nonzero(found)
    order = np.argsort(key[images, classes], kind='stable')
    _, first = np.unique(images[order], return_index=True)
    chosen = order[np.sort(first)[:SHOWN]]
    return [(int(images[at]), int(classes[at])) for at in chosen]


def _lines(group: Group, labels: NDArray, logits: NDArray, k: int, limit: float) -> list[str]:
    """The label in question, then those that the image has."""
    names = group.outputs.classes
    has = [names[j] for j in np.flatnonzero(labels == 1)]
    more = f' and {len(has) - NAMED} more' if len(has) > NAMED else ''
    owned = f'{", ".join(has[:NAMED])}{more}' if has else 'no label'
    return [names[k], f'{probability(logits[k]):.3f} at {probability(limit):.3f}', f'has: {owned}']
