"""Sections -> one HTML file that needs nothing else, and Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib import import_module, resources
from typing import TYPE_CHECKING

from bce3s.errors import BCE3SError
from bce3s.page.sections import PageRun, Section, Table
from bce3s.page.svg import DARK, VARIABLES, style
from bce3s.wording import counted

if TYPE_CHECKING:
    from jinja2 import Template

# In the order of the page: module, function, and what is said to be missing where it gives None.
SECTIONS = (
    ('summary_section', 'summary', ''),
    ('class_accuracy', 'class_accuracy', ''),
    ('class_table', 'class_table', ''),
    ('confusion', 'confusion', 'what is taken for what'),
    ('classifier', 'classifier_angles', 'angles of the classifier'),
    ('score_distributions', 'score_distributions', 'distributions of the scores'),
    ('embedding', 'embedding', 'a map of the features'),
    ('calibration', 'calibration', 'calibration'),
    ('open_set_curves', 'open_set_curves', 'open-set curves'),
    ('suspects', 'suspects', ''),
    ('curves', 'collapse', 'neural collapse'),
    ('provenance', 'provenance', ''),
)
UNKNOWN_HINT = (
    'Open-set curves need images of unknown classes: --unknown FOLDER, or held-out where '
    'keep_classes has left classes out.'
)
NUMBER = re.compile(r'(-?[\d,]*\.?\d+( ± [\d.]+)?( ?[%°])?|-)?$')
SectionMaker = Callable[[list[PageRun]], Section | None]


def makers() -> list[tuple[SectionMaker, str]]:
    """The functions of ``SECTIONS``, imported now, and the names of what they show."""
    return [
        (getattr(import_module(f'bce3s.page.{module}'), name), missing)
        for module, name, missing in SECTIONS
    ]


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
        for make, missing in makers():
            say(make.__name__.replace('_', ' '))
            try:
                section = make(runs)
            except BCE3SError as error:
                notes.append(f'No {missing or make.__name__}: {error}')
                fail(str(error))
                continue
            if section is not None:
                sections.append(section)
            elif missing:
                absent.append(missing)
    if absent:
        notes.insert(0, f'Not shown, for no run has the data: {", ".join(absent)}.')
    notes += merged(runs)
    if all(run.unknown is None for run in runs):
        notes.append(UNKNOWN_HINT)
    return [*sections, Section('missing', 'What is missing', notes=list(dict.fromkeys(notes)))]


def merged(runs: list[PageRun]) -> list[str]:
    """The runs' notes; what is said of several runs is said once, with their names."""
    names: dict[str, list[str]] = {}
    for run in runs:
        for note in run.notes:
            text = note.removeprefix(f'{run.name}: ')
            names.setdefault(text, []).append(run.name)
    return [f'{", ".join(dict.fromkeys(of))}: {text}' for text, of in names.items()]


# -------------------------------------------------------------------------------------------- HTML
def html(title: str, sections: list[Section]) -> str:
    """The page; equal sections give equal text. Every text of them is escaped."""
    return _template().render(
        title=title,
        sections=sections,
        style=_file('style.css'),
        script=_file('table.js'),
        light=variables(light=True),
        dark=variables(light=False),
    )


def variables(light: bool) -> str:
    """The figures' colours as CSS declarations."""
    return ' '.join(
        f'--{name}: {colour if light else DARK[colour]};' for colour, name in VARIABLES.items()
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= dict(paragraphs=paragraphs, counted=counted)
    environment.filters['left_columns'] = _left_columns
    return environment.from_string(_file('page.html.j2'))


@cache
def _file(name: str) -> str:
    return resources.files('bce3s.page').joinpath(name).read_text(encoding='utf-8')


def paragraphs(text: str) -> list[str]:
    """Divided by empty lines; a line's end is a space."""
    return [' '.join(part.split()) for part in text.split('\n\n') if part.strip()]


def _left_columns(table: Table) -> list[bool]:
    """Which columns are flush left: the first ``table.left``, and those that are no numbers."""
    return [
        i < table.left or not all(NUMBER.match(row[i]) for row in table.rows)
        for i in range(len(table.header))
    ]
