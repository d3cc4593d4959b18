"""What a page consists of: runs in, sections out.

A section is made by a function ``name(runs: list[PageRun]) -> Section | None``; None: nothing to
show for any of the runs. Texts are plain: whoever writes HTML or Markdown escapes them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bce3s.evaluation.selection import selections
from bce3s.evaluation.summary import same_but_seed
from bce3s.page.svg import SERIES

if TYPE_CHECKING:
    from bce3s.engine.outputs import Outputs


DASH = '-'
DASHES = f'({DASH}: there is no class or image of this kind, or the figure is not defined.)'


class Cell(str):
    """A cell's text with how it looks; any plain text is a cell too.

    Attributes:
        strong: whether it is emphasised.
        colour: name of a CSS variable (a value of ``svg.VARIABLES``) for the mark before the text.
        bar: percent of the cell's width that a bar behind the text takes.
    """

    strong: bool
    colour: str
    bar: float | None

    def __new__(
        cls, text: str, strong: bool = False, colour: str = '', bar: float | None = None
    ) -> Cell:
        cell = super().__new__(cls, text)
        cell.strong, cell.colour, cell.bar = strong, colour, bar
        return cell


@dataclass
class Figure:
    """Attributes:
    svg: of :func:`bce3s.page.svg.to_svg`.
    caption: what is seen, in a sentence or two.
    small: takes a third of it (its design width is 300 or so).
    key: what its colours mean, cells with a colour.
    """

    svg: str
    caption: str
    small: bool = False
    key: list[Cell] = field(default_factory=list)


@dataclass
class Table:
    """Attributes:
    header: a text a column. rows: of as many texts.
    caption: above the table.
    left: how many columns are flush left, the others being numbers.
    (A cell ``DASH`` is explained in the caption.)
    interactive: can be sorted and searched; the rows come in the order that is shown first.
    """

    header: list[str]
    rows: list[list[str]]
    caption: str = ''
    left: int = 1
    interactive: bool = False

    def __post_init__(self) -> None:
        if any(DASH in row for row in self.rows):
            self.caption = f'{self.caption} {DASHES}'.strip()


@dataclass
class Section:
    """Attributes:
    key: its anchor. title: its heading.
    text: paragraphs, divided by empty lines.
    notes: what is missing, and why.
    """

    key: str
    title: str
    text: str = ''
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class PageRun:
    """One run, as far as it could be read.

    Attributes:
        name: short, and different for every run of the page.
        folder: its work dir.
        report: ``report.json``.
        outputs: of the evaluation split; None where data or checkpoint are gone (see ``notes``).
        unknown: of images of classes that it does not know, labels being those of their own data.
        measures: ``measures.json``, or None.
        notes: what could not be read, and why.
    """

    name: str
    folder: Path
    report: dict[str, Any]
    outputs: Outputs | None = None
    unknown: Outputs | None = None
    measures: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)


@dataclass
class Group:
    """Runs that differ only in their seed.

    Attributes:
        name: short, and different for every group of the page.
        runs: by seed.
        colour: one of ``SERIES``, the same in every figure of the page.
    """

    name: str
    runs: list[PageRun]
    colour: str


def grouped(runs: list[PageRun]) -> list[Group]:
    """The runs by config, its contents, data and epoch, as ``tools/summarize.py`` groups them; in
    the order in which they were given.

    A group is called as its runs are: what their names begin with, without the seed.
    """
    members: dict[tuple, list[PageRun]] = {}
    for run in runs:
        key = same_but_seed(run.report, selections(run.report)[0])
        members.setdefault(key, []).append(run)
    names = [_common_name([run.name for run in some]) for some in members.values()]
    groups = []
    for i, some in enumerate(members.values()):
        name = names[i]
        if not name or names.count(name) > 1:
            name = ', '.join(run.name for run in some)
        some = sorted(some, key=lambda run: (run.report['seed'] is None, run.report['seed'] or 0))
        groups.append(Group(name, some, SERIES[i % len(SERIES)]))
    return groups


def _common_name(names: list[str]) -> str:
    """``digits`` of ``digits_0`` and ``digits_1``; the name itself of a single run."""
    if len(names) == 1:
        return names[0]
    length = len(list(takewhile(lambda letters: len({*letters}) == 1, zip(*names, strict=False))))
    start = names[0][:length]
    if not all(name[length:].isdigit() or name == start for name in names):
        start = re.sub(r'[^-_. /]*$', '', start)  # no half words
    return re.sub(r'[-_. /]*(seed)?[-_. ]*\d*$', '', start)
