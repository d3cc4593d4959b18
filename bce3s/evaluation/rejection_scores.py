r"""By what an image is told to be of a known class: scores, higher meaning known.

* **Largest logit** :math:`\max_j z_j` (Vaze et al., "Open-Set Recognition: A Good Closed-Set
  Classifier Is All You Need?", ICLR 2022).
* **Energy** :math:`\log \sum_j e^{z_j}` of a softmax (Liu et al., "Energy-based Out-of-distribution
  Detection", NeurIPS 2020), :math:`\sum_j \log(1 + e^{z_j})` of sigmoids (Wang et al., "Can
  Multi-Label Classification Networks Know What They Don't Know?", NeurIPS 2021).
* **Mahalanobis distance** :math:`-\min_c (h - \mu_c)^\top \Sigma^{-1} (h - \mu_c)` of the features
  to the nearest class mean, :math:`\Sigma` the covariance within the classes, shared (Lee et al.,
  "A Simple Unified Framework", NeurIPS 2018), of features of unit length (Mueller and Hein,
  "Mahalanobis++", ICML 2025). :math:`\Sigma` is shrunk to a multiple of the identity as Ledoit and
  Wolf do (Journal of Multivariate Analysis 88, 2004), for there may be fewer images than
  dimensions. The relative form (less the distance to the mean of all images) was no better than
  chance on the features that were tried (AUROC 34 and 52), and is not here.
* **Nearest neighbours**, the cosine to the k-th nearest training feature (Sun et al.,
  "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022). It needs all training
  features.

Which is the best for a network is estimated without any unknown image (:func:`held_out_gains`):
known classes take the place of the unknown ones. A network that has learned a class has learned
that its images are none of the others, so that it flatters the logits to drop the class's column
from them. For 20 classes of CIFAR-100 on frozen features (EfficientNet-Lite0, a linear classifier,
BCE) the AUROC of the largest logit is 82.2 so, and 60.5 against images of 20 really unknown
classes; a classifier that is fitted anew without the class says 72.0. For the distance to the class
means it is 81.2 and 72.1, so that it is the better score: by 9 points held out, by 12 in truth. On
a network that was trained from scratch (58.3 and 56.1; 54.3 and 52.3) the largest logit is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from bce3s.errors import BCE3SError
from bce3s.evaluation.arrays import as_labels, as_matrix, check_finite, check_some, row_blocks
from bce3s.evaluation.open_set import share_below
from bce3s.evaluation.retrieval import neighbours

MAX_LOGIT = 'largest logit'
ENERGY = 'energy'
MAHALANOBIS = 'Mahalanobis distance to the class means'
NEIGHBOURS = 'cosine to the 10th nearest training feature'
K_NEAREST = 10
FOLDS = 5  # of classes that are held out together
MARGIN = 1.0  # points of AUROC by which another score must be better than the largest logit
CERTAIN = 1.64  # and standard errors
PER_CLASS = 5, 100  # training images that are compared with, at least and at most
WORK = 4e8  # products for one pass of the classifier that is fitted anew
DECAY = 1e-3  # of its weights
STEPS = 40


class Images(NamedTuple):
    """``features`` (N, d), ``logits`` (N, K) and ``labels`` (N,) of the same images."""

    features: Any
    logits: Any
    labels: Any


def energy(logits: Any, sigmoid: bool) -> NDArray[np.float64]:
    """(N,) see the module; ``sigmoid``: what the logits (N, K) are made for.

    >>> energy([[0.0, 0.0]], sigmoid=False).round(4).tolist()
    [0.6931]
    >>> energy([[0.0, 0.0]], sigmoid=True).round(4).tolist()
    [1.3863]
    """
    logits = as_matrix('logits', logits).double()
    found = F.softplus(logits).sum(1) if sigmoid else logits.logsumexp(1)
    return found.cpu().numpy()


# ------------------------------------------------------------------------------------ Mahalanobis
class ClassDistances(NamedTuple):
    """What the Mahalanobis distance takes.

    Attributes:
        means: (C, d) of the classes with an image, of features of unit length, times ``whitening``.
        whitening: (d, d) W with :math:`W W^\\top = \\Sigma^{-1}`.
    """

    means: Tensor
    whitening: Tensor

    @classmethod
    def of(cls, features: Any, labels: Any) -> ClassDistances:
        """From training features (N, d) and labels (N,); a class of one image is its mean.

        Raises:
            BCE3SError: no image, other lengths, a feature that is not finite.
        """
        features = as_matrix('features', features, 'cpu')
        check_some(len(features))
        labels = as_labels(labels, features)
        classes, at = labels.unique(return_inverse=True)
        means = torch.zeros(len(classes), features.shape[1], dtype=torch.float64)
        for rows in row_blocks(features):
            means.index_add_(0, at[rows], _unit(features[rows]))
        means /= torch.bincount(at)[:, None]
        residuals = (_unit(features[rows]) - means[at[rows]] for rows in row_blocks(features))
        covariance = _shrunk(residuals, len(features))
        # W = L^-T of Sigma = L L^T
        lower = torch.linalg.cholesky(covariance)
        identity = torch.eye(len(lower), dtype=lower.dtype)
        whitening = torch.linalg.solve_triangular(lower, identity, upper=False).T
        return cls(means @ whitening, whitening)

    def scores(self, features: Any) -> NDArray[np.float64]:
        """(N,) of features (N, d): minus the squared distance to the nearest mean.

        Raises:
            BCE3SError: other dimensions, a feature that is not finite.
        """
        unit = _unit(features)
        if unit.shape[1] != len(self.whitening):
            raise BCE3SError(
                f'The features have {unit.shape[1]} dimensions, the class means '
                f'{len(self.whitening)}: take both from the same network.'
            )
        white = unit @ self.whitening.double()
        means = self.means.double()
        exact = 'donot_use_mm_for_euclid_dist'
        return -torch.cdist(white, means, compute_mode=exact).amin(1).square().numpy()


def _unit(features: Any) -> Tensor:
    """(N, d) float64 of length 1 on the CPU; a feature of length 0 stays."""
    features = as_matrix('features', features, 'cpu').double()
    if features.numel():
        check_finite('features', features.amax(1) - features.amin(1))
    return F.normalize(features, dim=1, eps=1e-300)


def _shrunk(residuals: Iterable[Tensor], number: int) -> Tensor:
    r"""The covariance of ``number`` rows (n, d) with mean 0, which come in blocks, shrunk:
    :math:`(1 - a) S + a \mu I`, :math:`\mu = \mathrm{tr} S / d`, with Ledoit and Wolf's a. It is I
    where all rows are 0.
    """
    sample, fourth = torch.zeros(1, dtype=torch.float64), 0.0
    for rows in residuals:
        sample = sample + rows.T @ rows
        fourth += float(rows.square().sum(1).square().sum())
    sample, width = sample / number, len(sample)
    identity = torch.eye(width, dtype=sample.dtype)
    mu = float(sample.trace() / width)
    if mu < 1e-30:
        return identity
    square = float(sample.square().sum() / width)
    spread, noise = square - mu**2, (fourth / number / width - square) / number
    share = min(max(noise / spread, 0.0), 1.0) if spread > 0 else 1.0
    share = max(share, 1e-6)  # so that dimensions that never vary have an inverse
    return (1 - share) * sample + share * mu * identity


def nearest(features: Any, gallery: Any, k: int = K_NEAREST) -> NDArray[np.float64]:
    """(N,) cosine to the k-th nearest of the gallery (G, d), the last one where there are fewer."""
    k = min(k, len(gallery))
    blocks = [found.scores[:, k - 1] for found in neighbours(features, gallery, k)]
    return np.concatenate(blocks).astype(np.float64)


# ---------------------------------------------------------------------------------------- compared
def all_scores(
    images: Images, train: Images, sigmoid: bool, distances: ClassDistances | None = None
) -> dict[str, NDArray[np.float64]]:
    """Of each score its values (N,).

    Args:
        images: of known or unknown classes. train: the training images.
        sigmoid: whether the logits are made for sigmoids.
        distances: of the training images, where they are at hand.
    """
    distances = ClassDistances.of(train.features, train.labels) if distances is None else distances
    logits = as_matrix('logits', images.logits).double()
    return {
        MAX_LOGIT: logits.amax(1).cpu().numpy(),
        ENERGY: energy(logits, sigmoid),
        MAHALANOBIS: distances.scores(images.features),
        NEIGHBOURS: nearest(images.features, train.features),
    }


class Gain(NamedTuple):
    """Of a score, in points of AUROC, means over the classes held out: ``auroc``; ``gain`` over the
    largest logit, with its standard ``error``.
    """

    auroc: float
    gain: float
    error: float

    @property
    def clear(self) -> bool:
        """Whether it is better by more than ``MARGIN`` and more than chance does."""
        return self.gain > max(MARGIN, CERTAIN * self.error)


def held_out_gains(
    train: Images, validation: Images, sigmoid: bool, class_counts: Sequence[int]
) -> dict[str, Gain] | None:
    """Of each score how well it tells known images from those of known classes held out.

    The classes, by their training images, are dealt out to ``FOLDS`` parts. Each part is held out
    once: means, covariance, neighbours and a linear classifier of the features (:func:`refitted`)
    are those of the training images without it, and its validation images are the unknown ones. The
    AUROC of each class held out is the mean over the classes kept; the gain is the mean of the
    differences. A network that was trained on these classes has features of them that are better
    than those of really unknown ones, for all scores alike.

    So that it takes no longer than a minute or two, no more than the first 100 training images of a
    class are looked at, with many classes or wide features fewer (at least 5).

    Args:
        train, validation: the images, with features and labels; logits are not looked at.
        sigmoid: whether the network's logits are made for sigmoids.
        class_counts: (K,) TRAINING images.

    Returns:
        ``None`` where there is nothing to compare: fewer than two parts have validation images.

    Raises:
        BCE3SError: a feature that is not finite, lengths that differ.
    """
    counts, labels = np.asarray(class_counts), np.asarray(validation.labels)
    width, part = np.shape(train.features)[1], np.empty(len(counts), dtype=np.int64)
    rows = _first(train.labels, int(np.clip(WORK / width / len(counts) ** 2, *PER_CLASS)))
    features, taught = np.asarray(train.features)[rows], np.asarray(train.labels)[rows]
    part[np.argsort(-counts, kind='stable')] = np.arange(len(counts)) % FOLDS
    found: dict[str, list[float]] = {}
    for p in range(FOLDS):
        known, inside = part[labels] != p, part[taught] != p
        if known.all() or not known.any() or not inside.any():
            continue
        kept = Images(features[inside], None, taught[inside])
        logits = refitted(kept, validation.features, sigmoid)
        images = Images(validation.features, logits, labels)
        for score, values in all_scores(images, kept, sigmoid).items():
            for c in np.unique(labels[~known]):
                below = share_below(values[known], values[labels == c])
                means = [below[labels[known] == k].mean() for k in np.unique(labels[known])]
                found.setdefault(score, []).append(100 * float(np.mean(means)))
    if len(found.get(MAX_LOGIT, ())) < 2:
        return None
    first = np.array(found[MAX_LOGIT])
    return {
        score: Gain(
            float(np.mean(values)),
            float(np.mean(values - first)),
            float(np.std(values - first, ddof=1) / math.sqrt(len(first))),
        )
        for score, values in found.items()
    }


def recommended(gains: Mapping[str, Gain] | None) -> str:
    """The best score; the largest logit unless another is clearly better (:attr:`Gain.clear`).

    >>> recommended({MAX_LOGIT: Gain(80.0, 0.0, 0.0), ENERGY: Gain(82.0, 2.0, 1.5)})
    'largest logit'
    >>> recommended({MAX_LOGIT: Gain(80.0, 0.0, 0.0), ENERGY: Gain(82.0, 2.0, 0.5)})
    'energy'
    """
    clear = {score: gain.gain for score, gain in (gains or {}).items() if gain.clear}
    return max(clear, key=clear.get) if clear else MAX_LOGIT


def refitted(train: Images, features: Any, sigmoid: bool) -> NDArray[np.float32]:
    """(N, C) logits of ``features`` by a linear classifier of the training features, standardised:
    BCE or CE with a small weight decay, by L-BFGS. C: the classes of ``train``. Deterministic.
    """
    known = as_matrix('features', train.features).float()
    mean, scale = known.mean(0), known.std(0, correction=0)
    scale = torch.where(scale > 1e-6 * scale.max(), scale, torch.ones_like(scale))
    known, at = (known - mean) / scale, np.unique(train.labels, return_inverse=True)[1]
    target = F.one_hot(torch.from_numpy(at)).float()
    with torch.enable_grad():
        weight = torch.zeros(target.shape[1], known.shape[1], requires_grad=True)
        bias = torch.zeros(target.shape[1], requires_grad=True)
        search = dict(max_iter=STEPS, line_search_fn='strong_wolfe')
        optimizer = torch.optim.LBFGS([weight, bias], **search)

        def loss() -> Tensor:
            optimizer.zero_grad()
            logits = known @ weight.T + bias
            if sigmoid:
                found = F.binary_cross_entropy_with_logits(logits, target, reduction='sum')
            else:
                found = F.cross_entropy(logits, target, reduction='sum')
            found = found / len(known) + DECAY / 2 * weight.square().sum()
            found.backward()
            return found

        optimizer.step(loss)
    features = (as_matrix('features', features).float() - mean) / scale
    return (features @ weight.detach().T + bias.detach()).numpy()


def _first(labels: Any, most: int) -> NDArray[np.int64]:
    """The first ``most`` images of each class, in their order."""
    labels = np.asarray(labels)
    order = np.argsort(labels, kind='stable')
    place = np.arange(len(labels)) - np.searchsorted(labels[order], labels[order])
    return np.sort(order[place < most])
