"""A row of a linear classifier for a class that it was not trained with; the old rows are fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bce3s.errors import BCE3SError

RIDGE = 0.01


@dataclass(frozen=True)
class OldClasses:
    """What the classifier makes of the training images of its K classes.

    Attributes:
        features: (N, d) float64, as they are multiplied with the rows.
        labels: (N,) int64.
        weight, bias: (K, d) and (K,) float64, ``z = features @ weight.T + bias``.
        length: that every row must have; None: a row may have any.
    """

    features: Tensor
    labels: Tensor
    weight: Tensor
    bias: Tensor
    length: float | None = None

    def logits(self, features: Tensor) -> Tensor:
        """(M, d) -> (M, K)."""
        return features @ self.weight.T + self.bias

    @property
    def shares(self) -> Tensor:
        """(N,) weights of the images, by which every class that has one weighs as much: sum 1."""
        counts = torch.bincount(self.labels, minlength=len(self.weight))
        return 1 / (counts[self.labels].double() * (counts > 0).sum())

    @property
    def centre(self) -> Tensor:
        """(d,) mean of the class means."""
        return self.shares @ self.features


def mean_direction(images: Tensor, old: OldClasses) -> Tensor:
    """(d,) from the mean of the old class means to the mean of the images (n, d)."""
    return images.mean(0) - old.centre


def fitted_direction(images: Tensor, old: OldClasses, ridge: float = RIDGE) -> Tensor:
    r"""(d,) of the logistic regression that tells the images (n, d) from those of the old classes:

        ``min_{w, b}  mean_new softplus(-z) + sum_k mean_k softplus(z) + ridge / 2 |s w|^2``

    with ``z = w . (x - c) + b``: BCE of one more class, in which every class weighs one, whatever
    its images. c is the mean of the old class means and s the root mean square distance of features
    from it, so that the ridge has no unit. Convex, so it has one minimum, which L-BFGS finds.
    """
    centre = old.centre
    spread = (old.shares @ (old.features - centre).square().sum(1)).sqrt().clamp_min(1e-12)
    x = torch.cat([images - centre, old.features - centre]) / spread
    others = len(old.labels.unique()) * old.shares
    weights = torch.cat([others.new_full((len(images),), 1 / len(images)), others])
    sign = torch.ones_like(weights)
    sign[: len(images)] = -1
    point = x.new_zeros(x.shape[1] + 1).requires_grad_()  # s w, b
    optimizer = torch.optim.LBFGS(
        [point], max_iter=500, tolerance_grad=1e-9, line_search_fn='strong_wolfe'
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        z = x @ point[:-1] + point[-1]
        value = weights @ F.softplus(sign * z) + ridge / 2 * point[:-1].square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    return point.detach()[:-1]


def on_the_old_scale(direction: Tensor, images: Tensor, old: OldClasses) -> tuple[Tensor, Tensor]:
    r"""The row w (d,) in a direction (d,), and its bias b ().

    Let a be the mean logit of the old classes for their own images, e that for the images of
    others, each class weighing one; p and q the same of the new class with the direction u of unit
    length for a row. Then ``w = r u``, ``r = (a - e) / (p - q)``, so that own and other images lie
    as far apart as those of the old classes, but at most three times the mean length of their rows;
    and b puts the middle of both at ``(a + e) / 2``. Where all rows have one length, r is that.
    """
    unit = F.normalize(direction, dim=0)
    logits, shares = old.logits(old.features), old.shares
    own = F.one_hot(old.labels, len(old.weight)).bool()
    at_own = shares @ logits[own]
    at_other = shares @ logits.masked_fill(own, 0).sum(1) / (len(old.weight) - 1)
    new, rest = (images @ unit).mean(), shares @ (old.features @ unit)
    length = old.length
    if length is None:
        longest = 3 * old.weight.norm(dim=1).mean()
        length = ((at_own - at_other) / (new - rest).clamp_min(1e-12)).clamp(longest * 0, longest)
    return length * unit, (at_own + at_other) / 2 - length * (new + rest) / 2


WAYS = {'fit': fitted_direction, 'mean': mean_direction}


def new_rows(classes: Sequence[Tensor], old: OldClasses, way: str) -> tuple[Tensor, Tensor]:
    """Rows (n, d) and biases (n,) of new classes, each found without the others.

    Args:
        classes: of each the features (n_k, d) of its images, float64.
        old: what is known of the others.
        way: see ``WAYS``.

    Raises:
        BCE3SError: features that are not finite.
    """
    if not all(features.isfinite().all() for features in (*classes, old.features)):
        raise BCE3SError('The network gives features that are not finite: use another checkpoint.')
    rows = [on_the_old_scale(WAYS[way](images, old), images, old) for images in classes]
    return torch.stack([row for row, _ in rows]), torch.stack([bias for _, bias in rows])
