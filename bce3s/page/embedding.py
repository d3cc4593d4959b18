"""Features in the plane by t-SNE, coloured by split."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bce3s.datasets.long_tailed import SPLITS
from bce3s.page.content import Figure, Section
from bce3s.page.drawing import shortened
from bce3s.page.runs import Group, PageRun, left_out, measured
from bce3s.plotting import COLOURS, new_figure

IMAGES = 1500  # at most
DIMENSIONS, ITERATIONS = 50, 600  # of the PCA before it, and of t-SNE
FEWEST = 10  # images below which there is nothing to be seen
NAMED = 12  # classes up to which they are named
TEXT = """\
Features of evaluation images, the same number of each class as far as there are enough, laid out in
the plane by t-SNE (van der Maaten and Hinton, 2008; perplexity 30, after a PCA to 50 dimensions,
started from the first two principal axes): images with similar features lie together.

Neighbourhoods can be read from it; distances between groups and their sizes can not."""


def embedding(runs: list[PageRun]) -> Section | None:
    """A map of the features of each group's first seed."""
    figures, notes, groups = [], left_out(runs), measured(runs)
    for group in groups:
        rows = stratified(group.outputs.labels)
        features = group.outputs.features[rows].astype(np.float64)
        features -= features.mean(axis=0)
        if len(rows) >= FEWEST and features.any() and np.isfinite(features).all():
            figures.append(_figure(group, tsne(features / features.std()), rows))
        else:
            notes.append(
                f'{group.title}: no map of its features: too few images, or all are equal.'
            )
    return Section('features', 'Features', TEXT, figures, [], notes) if figures else None


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


def _figure(group: Group, places: NDArray, rows: NDArray[np.int64]) -> Figure:
    from matplotlib.patheffects import withStroke

    labels = group.outputs.labels[rows]
    splits = group.splits[labels]
    figure, axes = new_figure(4.8, 4.4)
    for split in SPLITS:
        if (splits == split).any():
            look = dict(color=COLOURS[split], label=split.capitalize(), alpha=0.75, linewidths=0)
            axes.scatter(*places[splits == split].T, 12 if len(labels) < 400 else 8, **look)
    if len(group.outputs.classes) <= NAMED:
        halo = [withStroke(linewidth=2.2, foreground='white')]
        look = dict(fontsize=10, weight='bold', ha='center', va='center', path_effects=halo)
        for k in np.unique(labels):
            x, y = np.median(places[labels == k], axis=0)
            axes.text(x, y, shortened(group.outputs.classes[k]), **look)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_aspect('equal', 'datalim')
    axes.set_title(group.title)
    figure.legend(loc='outside lower center', ncols=3, labelcolor='linecolor', markerscale=2)
    size = min(10, len(labels) - 1)
    same = _own_neighbours(places, labels, size)
    said = [
        f'{100 * same[splits == split].mean():.0f} % ({split.capitalize()})'
        for split in SPLITS
        if (splits == split).any()
    ]
    caption = (
        f'{group.title}, {len(labels)} images: of the {size} nearest dots of an image, '
        f'{", ".join(said)} are of its own class.'
    )
    return Figure.of(figure, 'Map of the features by t-SNE', caption)


def _own_neighbours(places: NDArray, labels: NDArray, size: int) -> NDArray[np.float64]:
    """(n,) share of the own class among the nearest dots: how mixed the neighbourhoods are."""
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=size).fit(places).kneighbors(return_distance=False)
    return (labels[near] == labels[:, None]).mean(axis=1)
