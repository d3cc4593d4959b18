"""Images whose label the model doubts most, to be looked at."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from bce3s.datasets.checks import printable
from bce3s.evaluation.label_suspects import Suspect, label_suspects
from bce3s.page.content import Section, Table
from bce3s.page.drawing import thumbnails
from bce3s.page.runs import Group, PageRun, measured

LISTED, DRAWN = 20, 12
FEWEST = 5  # images of a class, below which nothing is usual for it
TEXT = """\
Images whose label the model doubts most, the most doubtful first: wrong labels are often among
them, and so are hard images. Margin is how much more an image looks like the other class than like
its own, each measured by what is usual for images of that class (log-softmax, after confident
learning, Northcutt et al., JAIR 2021). Only images that were not trained on are looked at, of
classes with at least five of them."""


def suspects(runs: list[PageRun]) -> Section | None:
    """Of the first seed of each group whose images are files; None: there is none."""
    figures, tables = [], []
    for group in measured(runs):
        found = _found(group) if group.outputs.images else []
        if not found:
            continue
        triples = [(s.index, s.label, s.other) for s in found[:DRAWN]]
        caption = (
            f'{group.title}: the {len(triples)} most doubtful images; above each its label, below '
            'it what it looks like to the model.'
        )
        figures.append(thumbnails(group, triples, 'Doubtful labels', caption))
        tables.append(_table(group, found))
    return Section('suspects', 'Labels to look at', TEXT, figures, tables) if tables else None


def _found(group: Group) -> list[Suspect]:
    outputs = group.outputs
    enough = np.bincount(outputs.labels, minlength=len(outputs.classes)) >= FEWEST
    found = label_suspects(outputs.logits, outputs.labels, None)
    return [s for s in found if enough[s.label] and enough[s.other]][:LISTED]


def _table(group: Group, found: list[Suspect]) -> Table:
    outputs = group.outputs
    folder = os.path.commonpath([os.path.dirname(path) for path in outputs.images])
    rows = [
        [
            printable(Path(outputs.images[s.index]).relative_to(folder).as_posix()),
            outputs.classes[s.label],
            outputs.classes[s.other],
            f'{s.margin:.1f}',
        ]
        for s in found
    ]
    header = ['Image', 'Label', 'Looks like', 'Margin']
    return Table(header, rows, f'{group.title}, images of the {outputs.split} split', left=3)
