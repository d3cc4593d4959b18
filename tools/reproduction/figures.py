"""The figure of a table, drawn from what was collected. No state of pyplot is touched."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reproduction.collect import Collected
from reproduction.draw_curves import draw_curves
from reproduction.draw_dots import draw_dots
from reproduction.draw_violins import draw_violins

KINDS: dict[str, Callable[[Collected], Figure]] = {
    'curves': draw_curves,
    'dots': draw_dots,
    'violins': draw_violins,
}


def draw(collected: Collected) -> bytes | None:
    """A PNG file; None if the table has no figure or no finished run to draw."""
    drawing = collected.table.drawing
    if drawing is None or not any(row.results for row in collected.shown):
        return None
    figure = KINDS[drawing.kind](collected)
    width = int(figure.get_figwidth() * 9.5)
    title = textwrap.fill(f'{collected.title} ({collected.summary()})', width)
    figure.suptitle(title, x=0.01, ha='left', fontsize=12, fontweight='bold')
    canvas = FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    return buffer.getvalue()
