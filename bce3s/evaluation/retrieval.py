"""How well features alone tell the classes: nearest neighbours and retrieval, by exact search.

Queries are the test features. The gallery is the training set, or the queries themselves, each
without itself. This is the only file that needs faiss. faiss has an OpenMP runtime of its own: its
threads follow ``OMP_NUM_THREADS``, not ``torch.set_num_threads``, and a search in a forked process
(a loader's worker) hangs once the parent has used several threads. Search in the main process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bce3s.datasets.long_tailed import Thresholds
from bce3s.errors import BCE3SError
from bce3s.evaluation.arrays import as_tensor
from bce3s.evaluation.feature_arrays import (
    check_same_size,
    feature_array,
    label_array,
    split_means,
    unit_rows,
)
from bce3s.evaluation.neighbours import (
    average_precision_at_r,
    recall_at_k,
    similarity_weights,
    vote,
)

METRICS = ('cosine', 'euclidean')
ENTRIES = 2**21  # neighbours (or votes) held at a time: some 100 MB
GPU_MAX_K = 2048  # neighbours that faiss finds on a GPU; more are found on the CPU


class Neighbours(NamedTuple):
    """Of the queries ``rows``: ``scores`` (B, k) and ``indices`` (B, k), the nearest first."""

    rows: slice
    scores: NDArray[np.floating]
    indices: NDArray[np.int64]


# ------------------------------------------------------------------------------------------- search
def _faiss() -> ModuleType:
    try:
        import faiss
    except ImportError as error:
        raise BCE3SError(
            f'Nearest neighbours need faiss, which cannot be imported ({error}): pip install '
            'faiss-cpu, or faiss-gpu for searches on a GPU.'
        ) from None
    return faiss


def searcher() -> str:
    """What searches, for a report: ``faiss 1.14.1, GPU``."""
    faiss = _faiss()
    return f'faiss {faiss.__version__}, {"GPU" if faiss.get_num_gpus() else "CPU"}'


def _index(gallery: NDArray[np.float32], metric: str, k: int) -> Any:
    """An exact index, on a GPU if faiss sees one."""
    faiss = _faiss()
    kind = faiss.IndexFlatIP if metric == 'cosine' else faiss.IndexFlatL2
    index = kind(gallery.shape[1])
    if faiss.get_num_gpus() and k <= GPU_MAX_K:
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
    index.add(gallery)
    return index


def _comparable(
    queries: NDArray[np.float32], gallery: NDArray[np.float32], metric: str
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Features whose inner product, or whose distance times the scale, is the metric.

    Distances are taken about the gallery's mean and in units of the largest entry: float32 then
    loses no digits to a common offset and overflows nowhere.
    """
    if metric == 'cosine':
        return unit_rows(queries), unit_rows(gallery), 1.0
    origin = gallery.mean(axis=0, dtype=np.float64)
    scale = max(float(np.abs(part - origin).max()) for part in (queries, gallery)) or 1.0
    queries, gallery = (((part - origin) / scale).astype(np.float32) for part in (queries, gallery))
    return queries, gallery, scale


def _without_self(
    scores: NDArray, indices: NDArray, own: NDArray[np.int64]
) -> tuple[NDArray, NDArray]:
    """Drop the query's own index from each row; where equals crowded it out, drop the last."""
    keep = indices != own[:, None]
    keep[keep.all(axis=1), -1] = False
    shape = (len(own), -1)
    return scores[keep].reshape(shape), indices[keep].reshape(shape)


def _in_order(scores: NDArray, indices: NDArray) -> NDArray:
    """Equal scores by their index in the gallery, whatever order faiss found them in."""
    tied = np.flatnonzero((scores[:, 1:] == scores[:, :-1]).any(axis=1))
    order = np.lexsort((indices[tied], -scores[tied]), axis=-1)
    indices[tied] = np.take_along_axis(indices[tied], order, axis=1)
    return indices


def neighbours(
    queries: ArrayLike,
    gallery: ArrayLike | None,
    k: int,
    metric: str = 'cosine',
    block: int | None = None,
) -> Iterator[Neighbours]:
    """The k nearest features of the gallery to each query, by exact search, block by block.

    Scores are cosines, or minus the squared Euclidean distances: higher is nearer. Of equal scores
    the lower index comes first; which of several equals still belongs to the k nearest is up to
    faiss. A feature of length 0 has cosine 0 to everything.

    Args:
        queries: (Q, d).
        gallery: (G, d); None: the queries, each without itself (by its index: an exact copy
            elsewhere is a neighbour).
        k: neighbours, at most G (at most Q - 1 without gallery).
        metric: ``cosine`` or ``euclidean``.
        block: queries at a time; None: so many that their neighbours take some 100 MB.

    Raises:
        BCE3SError: faiss is missing, shapes that do not fit, a value that is not finite, fewer
            features than neighbours, an unknown metric.
    """
    if metric not in METRICS:
        raise BCE3SError(f"metric is {metric!r}: use 'cosine' or 'euclidean'.")
    own = gallery is None
    queries = feature_array('query', queries)
    gallery = queries if own else feature_array('gallery', gallery)
    check_same_size(queries, gallery)
    if not 1 <= k <= len(gallery) - own:
        others = ' besides the query itself' if own else ''
        raise BCE3SError(
            f'k is {k}, but the gallery has {len(gallery) - own} features{others}: use k between 1 '
            'and that.'
        )
    queries, gallery, scale = _comparable(queries, gallery, metric)
    index = _index(gallery, metric, k + own)
    block = block or min(max(ENTRIES // k, 1), 4096)
    for start in range(0, len(queries), block):
        rows = slice(start, min(start + block, len(queries)))
        scores, indices = index.search(queries[rows], k + own)
        if metric == 'euclidean':
            scores = -np.float64(scale**2) * np.maximum(scores, 0)
        indices = _in_order(scores, indices)
        if own:
            scores, indices = _without_self(scores, indices, np.arange(rows.start, rows.stop))
        yield Neighbours(rows, scores, indices)


# ------------------------------------------------------------------------------------------ figures
def retrieval_figures(
    queries: ArrayLike,
    query_labels: ArrayLike,
    gallery: ArrayLike | None,
    gallery_labels: ArrayLike | None,
    num_classes: int,
    ks: Sequence[int] = (1, 5, 10, 20),
    metric: str = 'cosine',
    tau: float = 0.07,
) -> dict[str, NDArray[np.float64]]:
    """A figure of each query: right or wrong by kNN, found or not, average precision at R.

    Args:
        queries, query_labels: (Q, d), (Q,).
        gallery, gallery_labels: (G, d), (G,); both None: the queries, each without itself.
        num_classes: K.
        ks: numbers of neighbours.
        metric: ``cosine`` or ``euclidean``.
        tau: temperature of the weighted vote ``exp(cos / tau)``, which is for cosines only.

    Returns:
        Arrays (Q,): ``knn_{k}`` and (cosine) ``weighted_{k}``, 1 where the vote is right, see
        :func:`~.neighbours.vote`; ``recall_{k}``; ``map_r``. A query whose class the gallery lacks
        is 0 in the votes, and NaN in what counts relevant ones: there is none to be found.

    Raises:
        BCE3SError: as :func:`neighbours`; or labels of another length or outside 0..K-1.

    >>> found = retrieval_figures([[1.0, 0.1]], [0], [[1.0, 0.0], [0.0, 1.0]], [0, 1], 2, ks=[1])
    >>> float(found['knn_1'][0]), float(found['recall_1'][0]), float(found['map_r'][0])
    (1.0, 1.0, 1.0)
    """
    ks = sorted(set(ks))
    if not ks or ks[0] < 1:
        raise BCE3SError(f'The numbers of neighbours are {ks}: give integers from 1 on.')
    queries = feature_array('query', queries)
    labels = label_array(query_labels, queries, num_classes)
    pool = labels
    if gallery is not None:
        gallery = feature_array('gallery', gallery)
        pool = label_array(gallery_labels, gallery, num_classes)
    number_relevant = np.bincount(pool, minlength=num_classes)[labels] - (gallery is None)
    depth = max(ks[-1], int(number_relevant.max()))
    block = min(max(ENTRIES // max(depth, num_classes), 1), 4096)
    figures: dict[str, NDArray] = {}
    for rows, scores, indices in neighbours(queries, gallery, depth, metric, block):
        columns = _vote_figures(pool[indices], scores, labels[rows], num_classes, ks, metric, tau)
        columns |= _rank_figures(pool[indices], labels[rows], number_relevant[rows], ks)
        for name, column in columns.items():
            figures.setdefault(name, np.empty(len(labels)))[rows] = column
    return figures


def _vote_figures(
    found: NDArray,
    scores: NDArray,
    labels: NDArray,
    num_classes: int,
    ks: Sequence[int],
    metric: str,
    tau: float,
) -> dict[str, NDArray]:
    columns = {f'knn_{k}': preds == labels for k, preds in vote(found, num_classes, ks).items()}
    if metric == 'cosine':
        votes = vote(found, num_classes, ks, similarity_weights(scores, tau))
        columns |= {f'weighted_{k}': preds == labels for k, preds in votes.items()}
    return columns


def _rank_figures(
    found: NDArray, labels: NDArray, number_relevant: NDArray, ks: Sequence[int]
) -> dict[str, NDArray]:
    relevant, some = found == labels[:, None], number_relevant > 0
    columns = {f'recall_{k}': np.where(some, recall_at_k(relevant, k), np.nan) for k in ks}
    return {**columns, 'map_r': average_precision_at_r(relevant, number_relevant)}


def evaluate_retrieval(
    queries: ArrayLike,
    query_labels: ArrayLike,
    gallery: ArrayLike | None,
    gallery_labels: ArrayLike | None,
    class_counts: Sequence[int],
    thresholds: Thresholds | None = None,
    ks: Sequence[int] = (1, 5, 10, 20),
    metric: str = 'cosine',
    tau: float = 0.07,
) -> dict[str, Any]:
    """What a report says about nearest neighbours, as plain Python values (percent, no NaN).

    Args:
        class_counts: (K,) TRAINING samples of each class; the split of a query is its class's.
        thresholds: where Many ends and Few begins.
        The others: see :func:`retrieval_figures`.

    Returns:
        ``figures``: for each name of :func:`retrieval_figures` ``all``, ``many``, ``medium``,
        ``few`` (means of per-class means) and ``plain`` (all queries alike), ``None`` where there
        is nothing to average; ``queries``, ``gallery``: how many; ``without_relevant``: queries
        whose class the gallery lacks.

    Raises:
        BCE3SError: as :func:`retrieval_figures`.
    """
    figures = retrieval_figures(
        queries, query_labels, gallery, gallery_labels, len(class_counts), ks, metric, tau
    )
    labels = as_tensor(query_labels).cpu().numpy()
    return {
        'figures': {
            name: split_means(100 * column, labels, class_counts, thresholds)
            for name, column in figures.items()
        },
        'queries': len(labels),
        'gallery': len(labels) - 1 if gallery is None else len(gallery),
        'without_relevant': int(np.isnan(figures['map_r']).sum()),
    }
