"""Sections -> one HTML file that needs nothing else, and Markdown."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from bce3s.errors import BCE3SError
from bce3s.page.calibration import calibration
from bce3s.page.classes import class_accuracy, class_table
from bce3s.page.classifier import classifier_angles
from bce3s.page.confusion import confusion
from bce3s.page.content import Figure, Picture, Section, Table
from bce3s.page.curves import collapse, training
from bce3s.page.embedding import embedding
from bce3s.page.gallery import gallery
from bce3s.page.labels import label_decisions, label_gallery
from bce3s.page.levels import levels
from bce3s.page.open_set import open_set_curves
from bce3s.page.provenance import provenance
from bce3s.page.runs import PageRun
from bce3s.page.scores import score_distributions
from bce3s.page.summary import summary
from bce3s.page.suspects import suspects
from bce3s.plotting import style
from bce3s.tables import escaped, markdown_table
from bce3s.wording import counted

if TYPE_CHECKING:
    from jinja2 import Template

SectionMaker = Callable[[list[PageRun]], Section | None]
# In the order of the page, and what is said to be missing where one gives None.
SECTIONS: tuple[tuple[SectionMaker, str], ...] = (
    (summary, ''),
    (class_accuracy, ''),
    (class_table, ''),
    (levels, ''),
    (gallery, 'pictures'),
    (confusion, 'what is taken for what'),
    (classifier_angles, 'angles of the classifier'),
    (score_distributions, 'distributions of the scores'),
    (embedding, 'a map of the features'),
    (calibration, 'calibration'),
    (open_set_curves, 'open-set curves'),
    (suspects, ''),
    (training, ''),
    (collapse, 'neural collapse'),
    (provenance, ''),
)
# Of images with several labels; there is nothing that one label is taken for.
SEVERAL_LABELS: tuple[tuple[SectionMaker, str], ...] = (
    (summary, ''),
    (label_decisions, ''),
    (class_accuracy, ''),
    (class_table, ''),
    (label_gallery, 'pictures'),
    (classifier_angles, 'angles of the classifier'),
    (training, ''),
    (provenance, ''),
)
UNKNOWN_HINT = (
    'Open-set curves need images of unknown classes: --unknown FOLDER, or held-out where '
    'keep_classes has left classes out.'
)
NUMBER = re.compile(r'(-?[\d,]*\.?\d+( ± [\d.]+)?( ?[%°])?|-)?$')
LONGEST = 100  # rows of a table in Markdown


def sections_of(runs: list[PageRun]) -> tuple[tuple[SectionMaker, str], ...]:
    """What the page of these runs is made of.

    Raises:
        BCE3SError: some are of images with several labels, and others are not.
    """
    kinds = {run.several: run.name for run in runs}
    if len(kinds) > 1:
        raise BCE3SError(
            f'{kinds[True]} is of images with several labels and {kinds[False]} of images with '
            'one: mAP and accuracy are not to be compared. Make a page of each kind.'
        )
    return SEVERAL_LABELS if True in kinds else SECTIONS


def make_sections(
    runs: list[PageRun], say: Callable[[str], None], fail: Callable[[str], None]
) -> list[Section]:
    """All sections that have something to show; the last one says what is missing, and why.

    Args:
        say: is told what is being made.
        fail: is told what could not be made; the other sections are made all the same.
    """
    sections, absent, notes = [], [], []
    with style():
        for make, missing in sections_of(runs):
            name = make.__name__.replace('_', ' ')
            say(name)
            try:
                section = make(runs)
            except BCE3SError as error:
                notes.append(f'No {missing or name}: {error}')
                fail(str(error))
                continue
            if section is not None:
                sections.append(section)
            elif missing:
                absent.append(missing)
    if absent:
        notes.insert(0, f'Not shown, for no run has the data: {", ".join(absent)}.')
    notes += merged(runs)
    if all(run.unknown is None and not run.several for run in runs):
        notes.append(UNKNOWN_HINT)
    return [*sections, Section('missing', 'What is missing', notes=list(dict.fromkeys(notes)))]


def merged(runs: list[PageRun]) -> list[str]:
    """The runs' notes; what is said of several runs is said once, with their names."""
    names: dict[str, list[str]] = {}
    for run in runs:
        for note in run.notes:
            names.setdefault(note.removeprefix(f'{run.name}: '), []).append(run.name)
    return [f'{", ".join(dict.fromkeys(of))}: {text}' for text, of in names.items()]


def paragraphs(text: str) -> list[str]:
    """Divided by empty lines; a line's end is a space."""
    return [' '.join(part.split()) for part in text.split('\n\n') if part.strip()]


# -------------------------------------------------------------------------------------------- HTML
def html(title: str, sections: list[Section]) -> str:
    """The page; equal sections give equal text. Every text of them is escaped, and figures are
    images of their own, in which no script runs.
    """
    files = dict(style=_file('style.css'), script=_file('table.js'))
    return _template().render(title=title, sections=sections, **files)


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= dict(
        paragraphs=paragraphs, counted=counted, left_columns=_left_columns, data_uri=_data_uri
    )
    return environment.from_string(_file('page.html.j2'))


@cache
def _file(name: str) -> str:
    return resources.files('bce3s.page').joinpath(name).read_text(encoding='utf-8')


def _data_uri(shown: Figure | Picture) -> str:
    if isinstance(shown, Picture):
        data, kind = shown.image, 'png' if shown.image.startswith(b'\x89PNG') else 'jpeg'
    else:
        data, kind = shown.svg.encode(), 'svg+xml'
    return f'data:image/{kind};base64,{base64.b64encode(data).decode()}'


def _left_columns(table: Table) -> list[bool]:
    """Which columns are flush left: the first ``table.left``, and those that are no numbers."""
    return [
        i < table.left or not all(NUMBER.match(row[i]) for row in table.rows)
        for i in range(len(table.header))
    ]


# ---------------------------------------------------------------------------------------- Markdown
def markdown(title: str, sections: list[Section]) -> str:
    """Headings, texts, tables, the names of pictures and notes, without figures; tables are cut
    after ``LONGEST`` rows, which is said."""
    parts = [f'# {escaped(title)}']
    for section in sections:
        shown = section.tables or section.galleries or section.notes
        if not (shown or (section.text and not section.figures)):
            continue  # nothing, or a text on figures that are not here
        parts += [f'## {escaped(section.title)}']
        parts += [escaped(part) for part in paragraphs(section.text)]
        for each in section.galleries:
            parts.append(escaped(f'{each.title}. {each.caption}'))
            named = (f'{picture.name}: {", ".join(picture.lines)}' for picture in each.pictures)
            parts.append('\n'.join(f'- {escaped(line)}' for line in named))
        for table in section.tables:
            rows = [[escaped(cell) for cell in row] for row in table.rows[:LONGEST]]
            header = [escaped(cell) for cell in table.header]
            parts += [escaped(table.caption)] if table.caption else []
            parts.append(markdown_table(header, rows, table.left))
            if len(table.rows) > LONGEST:
                parts.append(f'{len(table.rows) - LONGEST} further rows are in the HTML page.')
        if section.notes:
            parts.append('\n'.join(f'- {escaped(note)}' for note in section.notes))
    return '\n\n'.join(parts) + '\n'
