"""How well features alone distinguish the classes: nearest neighbours, retrieval, class means.

Queries are the test features. The gallery is the training set, or the queries themselves, each
without itself. Neighbours are found by exact search, with faiss. It has an OpenMP runtime of its
own: its threads follow ``OMP_NUM_THREADS``, not ``torch.set_num_threads``, and a search in a forked
process (a loader's worker) hangs once the parent has used several threads. Search in the main
process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from bce3s.datasets.long_tailed import Thresholds
from bce3s.errors import BCE3SError
from bce3s.evaluation.accuracy import split_means
from bce3s.evaluation.arrays import (
    as_labels,
    as_matrix,
    as_tensor,
    check_finite,
    check_some,
    unit_rows,
)
from bce3s.evaluation.neural_collapse import class_means

METRICS = ('cosine', 'euclidean')
ENTRIES = 2**21  # neighbours (or votes) held at a time: some 100 MB
GPU_MAX_K = 2048  # neighbours that faiss finds on a GPU; more are found on the CPU
ROWS = 4096  # queries at a time


class Neighbours(NamedTuple):
    """Of the queries ``rows``: ``scores`` (B, k) and ``indices`` (B, k), the nearest first."""

    rows: slice
    scores: NDArray[np.floating]
    indices: NDArray[np.int64]


def _checked(
    queries: Any, gallery: Any, metric: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features as faiss takes them: (N, d) float32 in one piece on the CPU.

    Raises:
        BCE3SError: no sample, not two dimensions, other dimensions, a value that float32 does not
            hold as finite, or an unknown metric.
    """
    if metric not in METRICS:
        raise BCE3SError(f"metric is {metric!r}: use 'cosine' or 'euclidean'.")
    found = []
    for name, values in (('query features', queries), ('gallery features', gallery)):
        matrix = as_matrix(name, values, 'cpu').to(torch.float32).contiguous()
        check_some(matrix.numel())
        check_finite(name, matrix.amax(dim=1).double() - matrix.amin(dim=1).double())
        found.append(matrix.numpy())
    if found[0].shape[1] != found[1].shape[1]:
        raise BCE3SError(
            f'The query features have {found[0].shape[1]} dimensions, the gallery features '
            f'{found[1].shape[1]}: extract both with the same model.'
        )
    return found[0], found[1]


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
    own = gallery is None
    queries, gallery = _checked(queries, queries if own else gallery, metric)
    if not 1 <= k <= len(gallery) - own:
        others = ' besides the query itself' if own else ''
        raise BCE3SError(
            f'k is {k}, but the gallery has {len(gallery) - own} features{others}: use k between 1 '
            'and that.'
        )
    queries, gallery, scale = _comparable(queries, gallery, metric)
    index = _index(gallery, metric, k + own)
    block = block or min(max(ENTRIES // k, 1), ROWS)
    for start in range(0, len(queries), block):
        rows = slice(start, min(start + block, len(queries)))
        scores, indices = index.search(queries[rows], k + own)
        if metric == 'euclidean':
            scores = -np.float64(scale**2) * np.maximum(scores, 0)
        indices = _in_order(scores, indices)
        if own:
            scores, indices = _without_self(scores, indices, np.arange(rows.start, rows.stop))
        yield Neighbours(rows, scores, indices)


# ------------------------------------------------------------------------------------------- votes
def vote(
    neighbour_labels: NDArray[np.int64],
    num_classes: int,
    ks: Sequence[int],
    weights: NDArray[np.float64] | None = None,
) -> dict[int, NDArray[np.int64]]:
    """The class that most of the k nearest neighbours have, or that has the most weight.

    ``argmax_c sum_{i <= k} w_i [y_i = c]``; of classes with equal sums the one whose nearest member
    is nearest.

    Args:
        neighbour_labels: (B, at least the largest k).
        num_classes: K.
        ks: how many neighbours vote.
        weights: (B, at least the largest k) w; None: 1 each, the majority.

    Returns:
        For each k the predictions (B,).
    """
    rows, depth = np.arange(len(neighbour_labels)), max(ks)
    votes = np.zeros((len(rows), num_classes))
    first = np.full(votes.shape, depth, dtype=np.int32)  # rank of the nearest member
    winners = {}
    for rank in range(depth):
        labels = neighbour_labels[:, rank]
        votes[rows, labels] += 1 if weights is None else weights[:, rank]
        first[rows, labels] = np.minimum(first[rows, labels], rank)
        if rank + 1 in ks:
            tied = votes == votes.max(axis=1, keepdims=True)
            winners[rank + 1] = np.where(tied, first, depth + 1).argmin(axis=1)
    return winners


def similarity_weights(scores: NDArray, tau: float) -> NDArray[np.float64]:
    """``exp(s_i / tau)``, up to a factor a row that changes no vote (Wu et al., CVPR 2018)."""
    scores = scores.astype(np.float64)
    return np.exp((scores - scores.max(axis=1, keepdims=True)) / tau)


def recall_at_k(relevant: NDArray[np.bool_], k: int) -> NDArray[np.float64]:
    """1 if one of the k nearest has the query's class, else 0 (B,).

    Recall@k as metric learning uses it (Jegou et al., TPAMI 2011): not the share of all relevant
    ones that are found.

    >>> recall_at_k(np.array([[False, True], [False, False]]), 2).tolist()
    [1.0, 0.0]
    """
    return relevant[:, :k].any(axis=1).astype(np.float64)


def average_precision_at_r(
    relevant: NDArray[np.bool_], number_relevant: NDArray[np.int64]
) -> NDArray[np.float64]:
    """``1/R sum_{i=1..R} P(i)``, P(i) the precision at i if the i-th is relevant, else 0 (B,).

    Its mean over queries is MAP@R (Musgrave, Belongie, Lim, "A Metric Learning Reality Check",
    ECCV 2020).

    Args:
        relevant: (B, at least the largest R) whether the i-th nearest has the query's class.
        number_relevant: (B,) R, how many of the query's class there are to be found. NaN is
            returned where there is none: 0/0 is no figure.

    >>> average_precision_at_r(np.array([[True, False, True]]), np.array([3])).round(4).tolist()
    [0.5556]
    """
    relevant = relevant[:, : max(1, int(number_relevant.max(initial=0)))]
    ranks = np.arange(1, relevant.shape[1] + 1)
    counted = relevant & (ranks <= number_relevant[:, None])
    precision = np.cumsum(counted, axis=1, dtype=np.int32) / ranks
    sums = np.where(counted, precision, 0).sum(axis=1)
    figures = np.full(len(relevant), np.nan)
    return np.divide(sums, number_relevant, out=figures, where=number_relevant > 0)


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
    own = gallery is None
    queries, gallery = _checked(queries, queries if own else gallery, metric)
    labels = as_labels(query_labels, queries, num_classes).numpy()
    pool = labels if own else as_labels(gallery_labels, gallery, num_classes).numpy()
    number_relevant = np.bincount(pool, minlength=num_classes)[labels] - own
    depth = max(ks[-1], int(number_relevant.max()))
    block = min(max(ENTRIES // max(depth, num_classes), 1), ROWS)
    figures: dict[str, NDArray] = {}
    found = neighbours(queries, None if own else gallery, depth, metric, block)
    for rows, scores, indices in found:
        classes, wanted = pool[indices], labels[rows]
        relevant, number = classes == wanted[:, None], number_relevant[rows]
        columns = {f'knn_{k}': p == wanted for k, p in vote(classes, num_classes, ks).items()}
        if metric == 'cosine':
            votes = vote(classes, num_classes, ks, similarity_weights(scores, tau))
            columns |= {f'weighted_{k}': preds == wanted for k, preds in votes.items()}
        for k in ks:
            columns[f'recall_{k}'] = np.where(number > 0, recall_at_k(relevant, k), np.nan)
        columns['map_r'] = average_precision_at_r(relevant, number)
        for name, column in columns.items():
            figures.setdefault(name, np.empty(len(labels)))[rows] = column
    return figures


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


# ------------------------------------------------------------------------------------- class means
def nearest_class_mean(
    queries: ArrayLike,
    gallery: ArrayLike,
    gallery_labels: ArrayLike,
    num_classes: int,
    metric: str = 'cosine',
) -> NDArray[np.int64]:
    """``argmax_k cos(x, m_k)`` or ``argmin_k ||x - m_k||``, of equals the lowest k (Q,).

    ``cosine``: m_k is the mean of features of unit length (Rebuffi et al., iCaRL, CVPR 2017).
    ``euclidean``: of the features as they are (Mensink et al., TPAMI 2013). A class without a
    feature in the gallery is never predicted. A feature of length 0 has cosine 0 to every mean.

    Args:
        queries: (Q, d). gallery: (G, d). gallery_labels: (G,).
        num_classes: K.
        metric: ``cosine`` or ``euclidean``.

    Raises:
        BCE3SError: shapes that do not fit, a value that is not finite, a label outside 0..K-1, an
            unknown metric.

    >>> nearest_class_mean([[1.0, 0.2]], [[1.0, 0.0], [0.0, 1.0]], [0, 1], 2).tolist()
    [0]
    """
    queries, gallery = _checked(queries, gallery, metric)
    labels = as_labels(gallery_labels, gallery, num_classes).numpy()
    cosine = metric == 'cosine'
    found = class_means(unit_rows(gallery) if cosine else gallery, labels, num_classes)
    present = found.classes.numpy()
    means = found.means.numpy()[present]
    # Distances do not change with the origin; near it they lose no digits.
    origin = np.zeros(means.shape[1]) if cosine else means.mean(axis=0)
    means = unit_rows(means) if cosine else means - origin
    half_norms = 0 if cosine else (means**2).sum(axis=1) / 2
    blocks = (queries[i : i + ROWS].astype(np.float64) for i in range(0, len(queries), ROWS))
    nearest = [((block - origin) @ means.T - half_norms).argmax(axis=1) for block in blocks]
    return present[np.concatenate(nearest)]
