"""Features of a whole data set, in its order: what the network says of images that nothing
augments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from bce3s.datasets.whole_batches import collated
from bce3s.engine.embedding import embedded
from bce3s.errors import BCE3SError


class Extracted(NamedTuple):
    """``features`` (N, d) float32, ``labels`` (N,) int64 or (N, K) int8, ``logits`` (N, K) float32;
    on the CPU."""

    features: Tensor
    labels: Tensor
    logits: Tensor


def _loader(
    dataset: Dataset, batch_size: int, indices: Sequence[int] | None, num_workers: int
) -> DataLoader:
    """In order. A generator of its own: beginning a loop must not draw from torch's global one."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=range(len(dataset)) if indices is None else list(indices),
        collate_fn=collated,
        num_workers=num_workers,
        generator=torch.Generator(),
    )


@torch.no_grad()  # as a decorator it is lifted while the consumer of the batches runs
def feature_batches(
    model: nn.Module,
    dataset: Dataset,
    batch_size: int = 500,
    indices: Sequence[int] | None = None,
    num_workers: int = 0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Raw features ``h`` of the backbone and labels, batch by batch in the order of the data set.

    The model is in eval mode while the network runs and in its former mode once the loop ends or
    is left. No random state is drawn from. What a frozen network says of an image is taken from the
    cache (:mod:`bce3s.engine.embedding`).

    Args:
        model: has ``data_preprocessor(batch, training=False)`` and ``features(inputs)``, as
            :class:`~bce3s.models.classifier.LongTailedClassifier`.
        dataset: gives batches (``__getitems__``) or samples: dicts of ``inputs`` and
            ``data_samples``, the latter with ``labels``.
        batch_size: images a batch; the last may be smaller.
        indices: which samples, and in which order; None: all of them. With ranks, each gives its
            share, such as ``range(rank, len(dataset), world_size)``.
        num_workers: processes that read images; 0 for data in memory.

    Yields:
        ``features`` (B, d) and ``labels`` (B,) or (B, K), on the model's device, without images
        that could not be read and are skipped.
    """
    if hasattr(dataset, 'unaugmented'):  # one that augments by itself, such as ImageFolder
        dataset = dataset.unaugmented()
    if getattr(getattr(model, 'backbone', None), 'frozen', False):
        dataset = embedded(model, dataset)
    training = model.training
    model.eval()
    try:
        for batch in _loader(dataset, batch_size, indices, num_workers):
            data = model.data_preprocessor(batch, training=False)
            feats, labels = model.features(data['inputs']), data['data_samples']['labels']
            skipped = batch['data_samples'].get('skipped')  # on the CPU
            if skipped is not None and skipped.any():
                kept = (~skipped).nonzero()[:, 0].to(labels.device)
                feats, labels = feats[kept], labels[kept]
            if len(labels):
                yield feats, labels
    finally:
        model.train(training)


@torch.no_grad()
def extract(
    model: nn.Module, dataset: Dataset, batch_size: int = 500, num_workers: int = 0
) -> Extracted:
    """All features, labels and logits of a data set, each image seen once.

    Args:
        model: as for :func:`feature_batches`, with ``head(features)``, the logits.
        dataset, batch_size, num_workers: see there.

    Returns:
        See :class:`Extracted`: 4 N (d + K) + 8 N bytes, allocated once.

    Raises:
        BCE3SError: the data set is empty.
    """
    size, done, result = len(dataset), 0, None
    for feats, labels in feature_batches(model, dataset, batch_size, num_workers=num_workers):
        columns = Extracted(feats, labels, model.head(feats))
        if result is None:
            result = Extracted(*(_rows_like(column, size) for column in columns))
        for rows, column in zip(result, columns, strict=True):
            rows[done : done + len(labels)] = column
        done += len(labels)
    if result is None:
        raise BCE3SError('There is no image to extract features of: the data set is empty.')
    return Extracted(*(column[:done] for column in result))


def _rows_like(column: Tensor, size: int) -> Tensor:
    dtype = torch.float32 if column.is_floating_point() else column.dtype
    return torch.empty((size, *column.shape[1:]), dtype=dtype)
