"""One palette and one style for every figure. No state of pyplot is touched.

Sizes are in inches, text in points; on a page an inch is 96 CSS pixels. Draw within :func:`style`,
which also serves as a decorator::

    @style()
    def draw(...) -> bytes:
        figure, axes = new_figure(10, 4.6)
        ...
        return to_png(figure)
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Each but GRID has at least 4.5 : 1 on white, so that it serves for text too.
INK, MUTED, GRID = '#1c2128', '#59636e', '#dfe3e8'
# Distinguished by readers with any colour vision, as the first four of SERIES are.
SPLIT_COLOURS = {'many': '#2f5f93', 'medium': '#7d6e0e', 'few': '#c0334a'}
COLOURS = {'all': INK, **SPLIT_COLOURS}
LIGHT = {'all': '#c9cdd2', 'many': '#a3bfdc', 'medium': '#e6dd9f', 'few': '#f6b5bc'}  # of bars
LOSS_COLOURS = {'ce': SPLIT_COLOURS['many'], 'bce': SPLIT_COLOURS['few']}
SERIES = (  # of whatever is compared
    '#0d7490',
    '#b84e08',
    '#4a2a80',
    '#2f4a10',
    '#a3286e',
    '#7a5c2e',
    '#475569',
    '#1f2f8f',
)
DASHED, DOTTED = (0, (5, 2)), (0, (1.5, 1.2))
STYLE = {
    'font.size': 9,
    'axes.titlesize': 9,
    'axes.titleweight': 'bold',
    'axes.titlelocation': 'left',
    'axes.titlecolor': INK,
    'axes.labelcolor': MUTED,
    'axes.edgecolor': MUTED,
    'axes.linewidth': 0.7,
    'axes.axisbelow': True,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'figure.titlesize': 10,
    'figure.titleweight': 'bold',
    'grid.color': GRID,
    'grid.linewidth': 0.7,
    'legend.fontsize': 8.25,
    'legend.frameon': False,
    'text.color': INK,
    'text.parse_math': False,  # a class may be called `$x$`
    'xtick.color': MUTED,
    'ytick.color': MUTED,
    'xtick.labelsize': 8.25,
    'ytick.labelsize': 8.25,
    'path.simplify': False,  # strokes without length are dots
    'svg.fonttype': 'none',
    'svg.hashsalt': 'bce3s',
}


@contextmanager
def style() -> Iterator[None]:
    """matplotlib's defaults as all figures have them."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        yield


def new_figure(
    width: float = 4.8, height: float = 3.1, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, Any]:
    """A figure and its axes.

    Args:
        width, height: in inches; 4.8 is a column of the page, 10 a whole picture.
        rows, columns: of axes; one alone, or an array of them. With 0 rows there are none.
        options: of ``Figure.subplots``.
    """
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(width, height), layout='constrained')
        return figure, figure.subplots(rows, columns, **options) if rows else None


def to_png(figure: Figure, dpi: float = 120) -> bytes:
    """The figure as a PNG file."""
    return _saved(figure, format='png', dpi=dpi)


def to_svg(figure: Figure) -> str:
    """The figure as an SVG file, in which text stays text. Equal figures give equal files."""
    nothing = dict.fromkeys(('Date', 'Creator', 'Format', 'Type'))
    return _saved(figure, format='svg', metadata=nothing).decode()


def _saved(figure: Figure, **options: Any) -> bytes:
    _plain_logarithms(figure)
    buffer = io.BytesIO()
    with style(), warnings.catch_warnings():
        # names of classes in scripts that matplotlib's font lacks
        warnings.filterwarnings('ignore', message='Glyph .* missing from')
        figure.savefig(buffer, **options)
    return buffer.getvalue()


def _plain_logarithms(figure: Figure) -> None:
    """0.3 or 1,000 where matplotlib would label a logarithmic axis at all."""
    from matplotlib.ticker import LogFormatter, LogFormatterMathtext

    class PlainNumbers(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            shown = super().__call__(x, pos)
            return (f'{x:,.0f}' if x >= 1000 else f'{x:g}') if shown else ''

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(axis.get_major_formatter(), LogFormatterMathtext):
                axis.set_major_formatter(PlainNumbers())
            if isinstance(axis.get_minor_formatter(), LogFormatterMathtext):
                axis.set_minor_formatter(PlainNumbers())
