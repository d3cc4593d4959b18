"""Arrays of any kind as checked tensors, and blocks of their rows: what the measures start from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bce3s.errors import BCE3SError

BLOCK = 2**20  # numbers in a block of rows: 8 MB in float64, a few for each thread to work on
BLOCK_ON_DEVICE = 2**22  # 32 MB: on a GPU many small kernels cost more than memory


def as_tensor(values: Any, device: torch.device | str | None = None) -> Tensor:
    """``values`` (NumPy, torch or nested lists) as a tensor without history, not copied if it can
    be helped; on ``device``, or where it is."""
    if not isinstance(values, Tensor):
        values = np.asarray(values)
        # torch has no negative strides, no foreign byte order, and warns of memory it may not write
        if not values.flags.writeable or min(values.strides, default=0) < 0:
            values = values.copy()
        values = torch.from_numpy(values.astype(values.dtype.newbyteorder('='), copy=False))
    return values.detach().to(device=device)


def as_vector(name: str, values: Any) -> NDArray[np.float64]:
    """One finite number for each sample, (N,).

    Raises:
        BCE3SError: no sample, not one dimension, or a number that is not finite.
    """
    numbers = as_tensor(values).cpu().numpy()
    if not numbers.size:
        raise BCE3SError(f'There are no {name}: there must be at least one sample.')
    if numbers.ndim != 1:
        raise BCE3SError(
            f'The {name} have the shape {numbers.shape}: give one number for each sample.'
        )
    check_finite(name, torch.from_numpy(numbers))
    return numbers.astype(np.float64)


def as_matrix(name: str, values: Any, device: torch.device | str | None = None) -> Tensor:
    """As :func:`as_tensor`, of two dimensions; integers become float64.

    Raises:
        BCE3SError: not two dimensions, or complex numbers.
    """
    matrix = as_tensor(values, device)
    if matrix.dim() != 2 or matrix.is_complex():
        raise BCE3SError(
            f'The {name} must be a matrix of real numbers, but they have the shape '
            f'{tuple(matrix.shape)} and are {matrix.dtype}: give one row for each.'
        )
    return matrix if matrix.is_floating_point() else matrix.double()


def as_labels(values: Any, like: Any, num_classes: int | None = None, first: int = 0) -> Tensor:
    """The classes of the rows of ``like``, (N,) int64 on its device.

    Args:
        values: (N,) integers.
        like: (N, ...) features or scores.
        num_classes: K, if it is known.
        first: the number of the first sample, for the sentence of an error.

    Raises:
        BCE3SError: not one integer for each row, or one outside 0..K-1 (the first is named).
    """
    labels = as_tensor(values)
    whole = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    if labels.numel() and not whole:
        raise BCE3SError(f'The labels must be integers (class indices), not {labels.dtype}.')
    if labels.dim() != 1 or len(labels) != len(like):
        raise BCE3SError(
            f'There are {len(like)} samples but the labels have the shape {tuple(labels.shape)}: '
            'give one label for each sample.'
        )
    labels = labels.to(getattr(like, 'device', 'cpu'), torch.int64)
    wrong = (labels < 0) | (labels >= (torch.inf if num_classes is None else num_classes))
    if wrong.any():
        at = int(wrong.to(torch.uint8).argmax())
        last = '' if num_classes is None else num_classes - 1
        raise BCE3SError(
            f'The labels must be classes 0..{last}, but sample {first + at} has '
            f'{int(labels[at])}: check that the model and the data have the same number of classes.'
        )
    return labels


def as_classifier(weight: Any, bias: Any, features: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """W (K, d) and b (K,), 0 if it is None, in float64 on the device of the features, if given.

    Raises:
        BCE3SError: shapes that do not fit, or numbers that are not finite.
    """
    weight = as_matrix('weights', weight, None if features is None else features.device).double()
    if features is not None and features.shape[1] != weight.shape[1]:
        raise BCE3SError(
            f'The features have {features.shape[1]} numbers each, the classifier takes '
            f'{weight.shape[1]}: they are not of the same model.'
        )
    bias = weight.new_zeros(len(weight)) if bias is None else as_tensor(bias, weight.device)
    if bias.shape != weight.shape[:1]:
        raise BCE3SError(
            f'The classifier has {len(weight)} classes, but the biases have the shape '
            f'{tuple(bias.shape)}: give one bias for each class.'
        )
    if not (torch.isfinite(weight).all() and torch.isfinite(bias).all()):
        raise BCE3SError('The weights or biases are not finite: the model has diverged.')
    return weight, bias.double()


def check_finite(name: str, row_values: Tensor, first: int = 0) -> None:
    """Raises BCE3SError naming the first sample whose value in ``row_values`` (n,) is not finite.

    The values are any that a NaN or an infinity in the row would spoil, such as its norm.
    """
    finite = torch.isfinite(row_values)
    if not finite.all():
        at = first + int((~finite).to(torch.uint8).argmax())
        raise BCE3SError(
            f'The {name} of sample {at} are not finite (or too large for float64): the model has '
            'diverged or its input is broken.'
        )


def check_some(samples: int) -> None:
    """Raises BCE3SError if there is no sample."""
    if not samples:
        raise BCE3SError('There is no sample to measure: the data set is empty.')


def row_blocks(matrix: Tensor, width: int = 0) -> Iterator[slice]:
    """Slices over the rows of ``matrix``, each of about ``BLOCK`` numbers, or of that many rows of
    ``width`` if that is wider."""
    numbers = BLOCK if matrix.device.type == 'cpu' else BLOCK_ON_DEVICE
    rows = max(numbers // max(matrix.shape[1], width, 1), 1)
    for start in range(0, len(matrix), rows):
        yield slice(start, min(start + rows, len(matrix)))


def unit_rows(rows: NDArray) -> NDArray:
    """Rows of unit length; a row of zeros has no direction and stays zero.

    So its cosine to everything is 0, the documented limit. The largest entry is divided out first:
    no square overflows or vanishes.
    """
    largest = np.abs(rows).max(axis=1, keepdims=True)
    scaled = rows / np.where(largest > 0, largest, 1)
    norms = np.linalg.norm(scaled, axis=1, keepdims=True)
    return scaled / np.where(norms > 0, norms, 1)
