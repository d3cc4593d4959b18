"""What a page consists of. Texts are plain: whoever writes HTML or Markdown escapes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bce3s.plotting import to_svg

if TYPE_CHECKING:
    import matplotlib.figure

DASH = '-'
DASHES = f'({DASH}: there is no class or image of this kind, or the figure is not defined.)'


class Cell(str):
    """A cell's text with how it looks; any plain text is a cell too.

    Attributes:
        colour: of the mark before the text.
        bar: percent of the cell's width that a bar behind the text takes.
    """

    colour: str
    bar: float | None

    def __new__(cls, text: str, colour: str = '', bar: float | None = None) -> Cell:
        cell = super().__new__(cls, text)
        cell.colour, cell.bar = colour, bar
        return cell


@dataclass
class Figure:
    """Attributes:
    svg: an SVG file.
    caption: what is seen, in a sentence or two.
    title: of what it is, before the caption for those who do not see it.
    small: takes a third of the page.
    key: what its colours mean, cells with a colour.
    """

    svg: str
    caption: str
    title: str
    small: bool = False
    key: list[Cell] = field(default_factory=list)

    @classmethod
    def of(cls, figure: matplotlib.figure.Figure, title: str, caption: str, **rest) -> Figure:
        """Of what was drawn."""
        return cls(to_svg(figure), caption, title, **rest)


@dataclass
class Table:
    """Attributes:
    header: a text a column. rows: of as many texts.
    caption: above the table; it explains cells that are ``DASH``.
    left: how many columns are flush left, the others being numbers.
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
class Picture:
    """Attributes:
    name: of its file, from the folder of all; shown on hover.
    lines: below it, the first one stands out: a class, what it is called.
    image: a JPEG or PNG file; empty where it cannot be read any more.
    """

    name: str
    lines: list[str]
    image: bytes = b''


@dataclass
class Gallery:
    """Attributes:
    title: what these pictures have in common.
    caption: how they were chosen, and of how many.
    pictures: not empty.
    """

    title: str
    caption: str
    pictures: list[Picture]


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
    galleries: list[Gallery] = field(default_factory=list)
