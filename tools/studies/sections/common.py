"""What the sections share: their options, tables as text, figures without pyplot's state."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tqdm import tqdm

from bce3s.theory.decays import Decays
from bce3s.theory.unconstrained import bce, ce

LOSSES = {'ce': ce, 'bce': bce}
COLOURS = {'ce': '#2F5F93', 'bce': '#C0334A'}
GREY = '0.45'
HELD = '#E0A030'  # theory with H >= 0


@dataclass(frozen=True)
class Options:
    """What can be chosen on the command line.

    Attributes:
        classes: K. dim: d. samples: n of section ``collapse``.
        decays: lambda_W, lambda_H, lambda_b.
        seed: of the first random start.
    """

    classes: int = 10
    dim: int = 32
    samples: int = 100
    decays: Decays = field(default_factory=lambda: Decays.equal(5e-4))
    seed: int = 0

    @property
    def as_published(self) -> bool:
        """Whether the paper's tables for ten classes have these decays of W and H."""
        return self.classes == 10 and self.decays.weight == self.decays.feature == 5e-4


def steps(items: Iterable, section: str) -> Iterable:
    """``items`` with a progress bar on a terminal."""
    return tqdm(items, desc=section, leave=False, disable=None)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns under their headings, to the right; floats as they are formatted by the caller."""
    cells = [list(map(str, header)), *(list(map(str, row)) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return '\n'.join(
        '  ' + '  '.join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in cells
    )


def figure(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    return Figure(figsize=(width, height), dpi=120, layout='constrained')


def png(drawn: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    FigureCanvasAgg(drawn).print_png(buffer)
    return buffer.getvalue()


def tidy(axes, title: str, x: str, y: str) -> None:
    """Title and labels; no frame above and to the right."""
    axes.set_title(title, fontsize=10, loc='left')
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color='0.92', linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)


def draw_cosines(axes, cosines: Sequence[Sequence[float]], title: str):
    """A matrix of cosines, blue below 0, red above, to +-0.25 and as that beyond; what
    ``Figure.colorbar`` takes."""
    image = axes.imshow(cosines, vmin=-0.25, vmax=0.25, cmap='RdBu_r')
    axes.set_title(title, fontsize=10, loc='left')
    axes.set_xticks([])
    axes.set_yticks([])
    return image


def cosine_matrix(rows: np.ndarray) -> np.ndarray:
    """Cosines between rows; 0 where one is 0."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 1e-9)
    return unit @ unit.T


def pair_cosines(rows: np.ndarray) -> np.ndarray:
    """Cosines of all pairs of rows."""
    return cosine_matrix(rows)[np.triu_indices(len(rows), 1)]
