"""Figures as inline SVG: text stays text, and the colours are CSS variables, so that one drawing
serves the light and the dark page.

A figure is drawn with matplotlib in the colours named here; :func:`to_svg` writes ``var(--ink)``
instead of ``INK`` and so on. Any other colour stays as it is. One unit of a figure is one CSS pixel
at its design width.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Each is at least 4.5 : 1 against SURFACE, so that it serves for text too.
INK, MUTED, GRID, SURFACE = '#1c2128', '#59636e', '#dfe3e8', '#ffffff'
# Told apart by readers with any colour vision, as the first four of SERIES are.
MANY, MEDIUM, FEW = '#2f5f93', '#7d6e0e', '#c0334a'
# Of groups of runs.
SERIES = (
    '#0d7490',
    '#b84e08',
    '#4a2a80',
    '#2f4a10',
    '#a3286e',
    '#7a5c2e',
    '#475569',
    '#1f2f8f',
)
DARK = {
    INK: '#e8eaed',
    MUTED: '#a3abb6',
    GRID: '#343b45',
    SURFACE: '#1b1f24',
    MANY: '#82b4ea',
    MEDIUM: '#d6c14f',
    FEW: '#f28798',
    **dict(
        zip(
            SERIES,
            (
                '#2fb3c9',
                '#f58b3c',
                '#c9a6ff',
                '#d8f07a',
                '#ee86c0',
                '#cdab74',
                '#a9b6c8',
                '#96a5f5',
            ),
            strict=True,
        )
    ),
}
SPLIT_COLOURS = {'many': MANY, 'medium': MEDIUM, 'few': FEW}
VARIABLES = {
    INK: 'ink',
    MUTED: 'muted',
    GRID: 'grid',
    SURFACE: 'surface',
    MANY: 'many',
    MEDIUM: 'medium',
    FEW: 'few',
    **{colour: f'series-{i}' for i, colour in enumerate(SERIES)},
}
FONT = 12  # px at the design width
STYLE = {
    'font.size': FONT,
    'axes.titlesize': FONT,
    'axes.titleweight': 'bold',
    'axes.titlelocation': 'left',
    'axes.labelsize': FONT,
    'xtick.labelsize': FONT - 1,
    'ytick.labelsize': FONT - 1,
    'legend.fontsize': FONT - 1,
    'legend.frameon': False,
    'text.color': INK,
    'text.parse_math': False,  # a class may be called `$x$`
    'axes.edgecolor': MUTED,
    'axes.labelcolor': MUTED,
    'axes.titlecolor': INK,
    'axes.facecolor': 'none',
    'axes.linewidth': 0.8,
    'axes.axisbelow': True,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.unicode_minus': True,
    'grid.color': GRID,
    'grid.linewidth': 0.8,
    'xtick.color': MUTED,
    'ytick.color': MUTED,
    'figure.facecolor': 'none',
    'savefig.facecolor': 'none',
    'image.interpolation': 'none',
    'path.simplify': False,  # strokes without length are dots
    'svg.fonttype': 'none',
    'svg.hashsalt': 'bce3s',
}


@contextmanager
def style() -> Iterator[None]:
    """matplotlib's defaults as the page wants them; every section is made in it."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        yield


def new_figure(width: int = 460, height: int = 300) -> tuple[Figure, Axes]:
    """An empty figure with one axes, in the page's style; no state of pyplot is touched.

    Args:
        width, height: in CSS pixels; 460 is a column. More axes: ``fig.clear()``, then
            ``fig.subplots(...)``.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(width / 72, height / 72), dpi=72, layout='constrained')
        FigureCanvasSVG(figure)
        return figure, figure.add_subplot()


def heat_map(axes: Axes, values: np.ndarray, colour: str = SERIES[0], **options) -> None:
    """A matrix as one small image, 0 transparent and 1 ``colour``: good on light and dark.

    Args:
        values: (rows, columns); clipped to [0, 1], nan counts as 0.
        colour: seen on both surfaces; an image cannot hold a CSS variable.
        options: of ``imshow``, such as ``extent`` or ``aspect``.
    """
    from matplotlib.colors import to_rgb

    alpha = np.clip(np.nan_to_num(np.asarray(values, dtype=float)), 0, 1)
    image = np.empty((*alpha.shape, 4))
    image[..., :3] = to_rgb(colour)
    image[..., 3] = alpha
    axes.imshow(image, **{'interpolation': 'none', 'aspect': 'auto', **options})


def to_svg(figure: Figure, label: str) -> str:
    """The figure as ``<svg role="img" aria-label=LABEL>`` to be put into an HTML page.

    Equal figures give equal text. Numbers on logarithmic axes are plain, ``$`` means nothing.

    Args:
        figure: of :func:`new_figure`.
        label: what it shows, for those who do not see it.
    """
    import matplotlib

    _plain_text(figure)
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # The reader's fonts draw it, not ours.
        warnings.filterwarnings('ignore', message='Glyph .* missing from')
        nothing = dict.fromkeys(('Date', 'Creator', 'Format', 'Type'))
        figure.savefig(buffer, format='svg', dpi=72, metadata=nothing)
    return _tidied(buffer.getvalue(), label)


def _plain_text(figure: Figure) -> None:
    """No mathematical notation, neither in names nor at logarithmic ticks."""
    from matplotlib.text import Text
    from matplotlib.ticker import LogFormatterMathtext

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(axis.get_major_formatter(), LogFormatterMathtext):
                axis.set_major_formatter(plain_log_formatter())
            if isinstance(axis.get_minor_formatter(), LogFormatterMathtext):
                axis.set_minor_formatter(plain_log_formatter())
    for text in figure.findobj(Text):
        text.set_parse_math(False)


def plain_log_formatter():
    """0.3 or 1,000 where matplotlib would label a logarithmic axis at all."""
    from matplotlib.ticker import LogFormatter

    class PlainNumbers(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            shown = super().__call__(x, pos)
            return (f'{x:,.0f}' if x >= 1000 else f'{x:g}') if shown else ''

    return PlainNumbers()


def _tidied(text: str, label: str) -> str:
    """The ``<svg>`` element of matplotlib's file: our colours and fonts, ids of its own, short."""
    body = text[text.index('<svg') :]
    opening, body = body.split('>', 1)
    view = re.search(r'viewBox="[^"]*"', opening)[0]
    width = float(view.split()[2])
    body = re.sub(r'<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->', '', body, flags=re.S)
    body = re.sub(r'<[^>]*>', _tidy_tag, body)  # texts are left as they are
    body = re.sub(r'>\s+<', '><', body.strip()).replace('<defs></defs>', '')
    body = _own_ids(body, 'f' + hashlib.sha256((label + body).encode()).hexdigest()[:8])
    return (
        f'<svg class="figure" role="img" aria-label="{escape(label)}" {view} '
        f'style="--width: {width:g}px">{body}'
    )


def _tidy_tag(match: re.Match) -> str:
    """One tag: coordinates to a hundredth of a pixel, the page's fonts, colours as variables."""
    tag = re.sub(r'-?\d+\.\d{3,}', lambda number: f'{round(float(number[0]), 2):g}', match[0])
    tag = re.sub(r' transform="rotate\(-?0 [^"]*"', '', re.sub(r'\s+', ' ', tag))
    tag = re.sub(r'font-family: [^;"]*;? ?', '', tag)
    # `font:` holds weight, size and family in one
    tag = re.sub(r'font: (?:(\w+) )?([\d.]+)px [^;"]*', _font, tag)
    return re.sub(r'#[0-9a-fA-F]{6}\b', _variable, tag) if 'style="' in tag else tag


def _font(match: re.Match) -> str:
    weight = f'font-weight: {match[1]}; ' if match[1] else ''
    return f'{weight}font-size: {match[2]}px'


def _variable(match: re.Match) -> str:
    """Our colours as CSS variables; black is what nobody chose."""
    name = {**VARIABLES, '#000000': 'ink'}.get(match[0].lower())
    return f'var(--{name})' if name else match[0]


def _own_ids(body: str, prefix: str) -> str:
    """Ids that are referred to get ``prefix``, for a page holds many figures; others go."""
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', body))

    def renamed(match: re.Match) -> str:
        tag = re.sub(
            r' id="([^"]*)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else '', match[0]
        )
        return re.sub(r'(url\(#|href="#)', rf'\g<1>{prefix}', tag)

    return re.sub(r'<[^>]*>', renamed, body)
