"""Images whose label the model doubts most, to be looked at."""

from __future__ import annotations

import numpy as np

from bce3s.evaluation.label_suspects import Suspect, label_suspects
from bce3s.page.content import Gallery, Section, Table
from bce3s.page.pictures import Pictures
from bce3s.page.runs import Group, PageRun, measured
from bce3s.wording import counted

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
    galleries, tables = [], []
    for group in measured(runs):
        pictures = group.runs[0].pictures
        found = _found(group) if pictures is not None and pictures.files else []
        if not found:
            continue
        classes = group.outputs.classes
        shown = [
            pictures.picture(s.index, classes[s.label], f'looks like {classes[s.other]}')
            for s in found[:DRAWN]
        ]
        caption = f'{group.title}: the {counted(len(shown), "most doubtful image")}.'
        galleries.append(Gallery('Doubtful labels', caption, shown))
        tables.append(_table(group, pictures, found))
    if not tables:
        return None
    return Section('suspects', 'Labels to look at', TEXT, tables=tables, galleries=galleries)


def _found(group: Group) -> list[Suspect]:
    outputs = group.outputs
    enough = np.bincount(outputs.labels, minlength=len(outputs.classes)) >= FEWEST
    found = label_suspects(outputs.logits, outputs.labels, None)
    return [s for s in found if enough[s.label] and enough[s.other]][:LISTED]


def _table(group: Group, pictures: Pictures, found: list[Suspect]) -> Table:
    classes = group.outputs.classes
    rows = [
        [pictures.name(s.index), classes[s.label], classes[s.other], f'{s.margin:.1f}']
        for s in found
    ]
    header = ['Image', 'Label', 'Looks like', 'Margin']
    caption = f'{group.title}, images of the {group.outputs.split} split'
    return Table(header, rows, caption, left=3)
