"""What the sections share: their options, tables, and figures without pyplot's state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm

from bce3s.tables import markdown_table
from bce3s.theory.decays import Decays
from bce3s.theory.unconstrained import bce, ce

LOSSES = {'ce': ce, 'bce': bce}
GREY = '0.45'


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


def table(columns: dict[str, str], rows: Iterable[dict[str, Any]]) -> str:
    """A table of ``rows``.

    Args:
        columns: heading -> the format of its cells, such as ``'{bias:.4f}'`` for ``row['bias']``; a
            cell whose value is None becomes a dash.
        rows: the numbers.
    """
    cells = [[_cell(text, row) for text in columns.values()] for row in rows]
    return markdown_table(list(columns), cells, left=0, aligned=True)


def _cell(text: str, row: dict[str, Any]) -> str:
    name = text.partition('{')[2].partition(':')[0].partition('}')[0].partition('[')[0]
    return '-' if row[name] is None else text.format(**row)


def figure(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    return Figure(figsize=(width, height), dpi=120, layout='constrained')


def tidy(axes: Axes, title: str, x: str, y: str, ticks: Sequence[float] = ()) -> None:
    """Title, labels and a legend; no frame above and to the right; ``ticks`` of a logarithmic x."""
    axes.set_title(title, fontsize=10, loc='left')
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color='0.92', linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    if len(ticks):
        axes.set_xscale('log')
        axes.set_xticks(ticks, [f'{tick:g}' for tick in ticks])
        axes.minorticks_off()
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)


def pair_cosines(rows: np.ndarray) -> np.ndarray:
    """Cosines of all pairs of rows; 0 where one is 0."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 1e-9)
    return (unit @ unit.T)[np.triu_indices(len(rows), 1)]
