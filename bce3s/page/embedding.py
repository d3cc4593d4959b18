"""Features in the plane by t-SNE, coloured by split."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.long_tailed import SPLITS
from bce3s.page.labels import shortened
from bce3s.page.sections import Figure, PageRun, Section
from bce3s.page.shown import COLOURS, Shown, left_out, seeds_said, shown
from bce3s.page.svg import INK, SURFACE, new_figure, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IMAGES = 1500  # at most
DIMENSIONS, ITERATIONS = 50, 600  # of the PCA before it, and of t-SNE
FEWEST = 10  # images below which there is nothing to be seen
NAMED = 12  # classes up to which they are named
TEXT = """\
Features of evaluation images, the same number of each class as far as there are enough, laid out in
the plane by t-SNE (van der Maaten and Hinton, 2008; perplexity 30, after a PCA to 50 dimensions,
started from the first two principal axes): images with similar features lie together.

Neighbourhoods can be read from it; distances between groups and their sizes can not."""


class Drawn(NamedTuple):
    """``places`` (n, 2) of the images ``rows`` (n,) of the outputs."""

    places: NDArray
    rows: NDArray[np.int64]


def embedding(runs: list[PageRun]) -> Section | None:
    """A map of the features of each group's first seed."""
    figures, notes, drawn = [], left_out(runs), []
    for one in shown(runs):
        found = _embedded(one)
        if found is None:
            notes.append(f'{one.title}: no map of its features: too few images, or all are equal.')
            continue
        figures.append(_figure(one, found))
        drawn.append(one)
    if not figures:
        return None
    return Section('features', 'Features', TEXT + seeds_said(drawn), figures, [], notes)


def stratified(labels: NDArray, limit: int = IMAGES) -> NDArray[np.int64]:
    """Indices of at most ``limit`` images, as many of each class as of any other while it has more.

    The images of a class are taken evenly along the data set, so the choice is always the same.
    With more classes than ``limit``, one image of every class on an even grid of them.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    if len(classes) > limit:
        chosen = np.linspace(0, len(classes) - 1, limit).round().astype(int)
        classes, sizes = classes[chosen], sizes[chosen]
    quota = int(sizes.max())
    while np.minimum(sizes, quota).sum() > limit:
        quota -= 1
    rows = []
    for k, size in zip(classes, np.minimum(sizes, quota), strict=True):
        images = np.flatnonzero(labels == k)
        rows.append(images[np.linspace(0, len(images) - 1, size).round().astype(int)])
    return np.sort(np.concatenate(rows))


def _embedded(one: Shown) -> Drawn | None:
    rows = stratified(one.outputs.labels)
    features = one.outputs.features[rows].astype(np.float64)
    if len(rows) < FEWEST or not np.isfinite(features).all():
        return None
    features -= features.mean(axis=0)
    scale = features.std()
    return Drawn(tsne(features / scale), rows) if scale > 0 else None


def tsne(features: NDArray) -> NDArray:
    """(n, d) -> (n, 2), the same each time on one machine; in one thread, for sums are added up in
    the order in which threads finish."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    dimensions = min(DIMENSIONS, *features.shape)
    perplexity = min(30.0, (len(features) - 1) / 3)
    method = TSNE(2, perplexity=perplexity, init='pca', random_state=0, max_iter=ITERATIONS)
    with threadpool_limits(1):
        reduced = PCA(dimensions, svd_solver='full').fit_transform(features)
        if dimensions < 2:
            reduced = np.pad(reduced, ((0, 0), (0, 1)))
        return method.fit_transform(reduced)


# ------------------------------------------------------------------------------------------- figure
def _figure(one: Shown, found: Drawn) -> Figure:
    figure, axes = new_figure(460, 420)
    labels = one.outputs.labels[found.rows]
    splits = one.splits[labels]
    for split in SPLITS:
        if (splits == split).any():
            _dots(axes, found.places[splits == split], COLOURS[split])
    if len(one.outputs.classes) <= NAMED:
        _name_classes(axes, one, found.places, labels)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_aspect('equal', 'datalim')
    axes.set_title(one.title)
    _key(axes, splits)
    caption = _caption(one, found, labels)
    return Figure(to_svg(figure, f'Map of the features by t-SNE. {caption}'), caption)


def _dots(axes: Axes, places: NDArray, colour: str) -> None:
    """One path with a stroke of no length for each image: a round dot in a few characters."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    codes = np.tile([Path.MOVETO, Path.LINETO], len(places))
    path = Path(np.repeat(places, 2, axis=0), codes)
    path.should_simplify = False  # or the strokes would go
    size = 4.6 if len(places) < 400 else 3.8
    look = dict(edgecolor=colour, linewidth=size, capstyle='round', alpha=0.75)
    axes.add_patch(PathPatch(path, fill=False, **look))
    axes.update_datalim(places)
    axes.autoscale_view()


def _name_classes(axes: Axes, one: Shown, places: NDArray, labels: NDArray) -> None:
    """At the median of its images, on a halo of the page's surface."""
    from matplotlib.patheffects import withStroke

    for k in np.unique(labels):
        x, y = np.median(places[labels == k], axis=0)
        axes.text(
            x,
            y,
            shortened(one.outputs.classes[k]),
            color=INK,
            fontsize=13,
            fontweight='bold',
            ha='center',
            va='center',
            path_effects=[withStroke(linewidth=3, foreground=SURFACE)],
        )


def _key(axes: Axes, splits: NDArray) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], color=COLOURS[s], marker='o', linestyle='', markersize=6, label=s.capitalize()
        )
        for s in SPLITS
        if (splits == s).any()
    ]
    axes.figure.legend(
        handles=handles, loc='outside lower center', ncols=3, labelcolor='linecolor', handlelength=1
    )


def _caption(one: Shown, found: Drawn, labels: NDArray) -> str:
    """How mixed the neighbourhoods of the plane are, as what is seen is to be told in numbers."""
    from sklearn.neighbors import NearestNeighbors

    size = min(10, len(labels) - 1)  # an image is no neighbour of itself
    near = NearestNeighbors(n_neighbors=size).fit(found.places).kneighbors(return_distance=False)
    same = (labels[near] == labels[:, None]).mean(axis=1)
    said = [
        f'{100 * same[one.splits[labels] == split].mean():.0f} % ({split.capitalize()})'
        for split in SPLITS
        if (one.splits[labels] == split).any()
    ]
    return (
        f'{one.title}, {len(labels)} images: of the {size} nearest dots of an image, '
        f'{", ".join(said)} are of its own class.'
    )
