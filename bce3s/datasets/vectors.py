"""Features of a frozen network in the place of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bce3s.errors import BCE3SError
from bce3s.randomness import derived_seed
from bce3s.samplers import Draws


class HasVectors:
    """What a data set has whose images may be embedded once (:mod:`bce3s.engine.embedding`).

    Attributes:
        vectors: (N, V, d) float32, features of each image in V views; None: items are images. An
            item is then one view: in training drawn by its place in the run, otherwise the first.
        labels: (N,). training: whether a view is drawn. metainfo: see the data sets.
    """

    vectors: Tensor | None = None
    labels: Tensor
    metainfo: dict[str, Any]
    training: bool

    def content_keys(self) -> list[bytes]:
        """(N,) digests of the images' contents."""
        raise NotImplementedError

    def pixels(self, index: int, view: str) -> Tensor:
        """(C, H, W) uint8 of an image: ``origin``, ``flip``, ``crop1``, ...

        Raises:
            BCE3SError: it cannot be read, or has no such view.
        """
        raise NotImplementedError

    @property
    def pixel_settings(self) -> tuple:
        """Plain values of all that :meth:`pixels` depends on besides the content."""
        raise NotImplementedError

    def set_vectors(self, vectors: Tensor, failed: Mapping[int, str]) -> None:
        """Takes over :attr:`vectors`; ``failed``: why an image could not be read, by its index; its
        rows are 0.

        Raises:
            BCE3SError: one could not, and the data set does not skip such.
        """
        if failed:
            raise BCE3SError(next(iter(failed.values())))
        self.vectors = vectors

    def vectors_of(self, indices: Sequence[int]) -> Tensor:
        """(B, d) of a batch."""
        rows = torch.as_tensor(indices)
        views = self.vectors.shape[1]
        if views == 1 or not self.training:
            return self.vectors[rows, 0]
        if isinstance(indices, Draws):
            drawn = torch.tensor(
                [
                    derived_seed(indices.seed, 'view', indices.epoch, place) % views
                    for place in indices.places
                ]
            )
        else:
            drawn = torch.randint(views, (len(rows),))
        return self.vectors[rows, drawn]
