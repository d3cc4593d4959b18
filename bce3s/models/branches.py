"""How a loss of logits and labels becomes one of a batch of several views, on several processes."""

from __future__ import annotations

from inspect import signature

import torch
from torch import Tensor, nn

from bce3s.errors import BCE3SError
from bce3s.losses.joint import check_labels
from bce3s.models.targets import Targets


def joint_loss(
    loss: nn.Module, logits: Tensor, soft: Tensor, targets: Targets, weights: Tensor | None = None
) -> Tensor:
    """Logits and soft labels (V, B, K) -> scalar, the mean over views and samples of the global
    batch; ``weights`` (B,) or (V, B) multiply the samples' rows, or, where pictures have several
    labels, (K,) the positive terms of the classes.
    """
    if targets.several:
        check_labels(loss, logits[0], targets.labels)
    if not hasattr(loss, 'rows'):
        return _mixed(loss, logits, targets, weights)
    given = {}
    if targets.several and weights is not None:
        if 'positive_weight' not in signature(loss.rows).parameters:
            raise BCE3SError(
                f'{type(loss).__name__} has no weights of the positive terms of each class, which '
                'reweight and beta give where pictures have several labels: set both of '
                'model.head to None, or take BCEJoint.'
            )
        given, weights = dict(positive_weight=weights), None
    if getattr(loss, 'resample', 1) < 1:
        rng = targets.clock.numpy('negatives')
        given['classes'] = loss.counted(logits, targets.all_labels, rng)
    rows = loss.rows(logits, soft, **given)
    rows = rows if weights is None else rows * weights
    return targets.share.mean(rows.mean(0))


def _mixed(loss: nn.Module, logits: Tensor, targets: Targets, weights: Tensor | None) -> Tensor:
    """Of any ``loss(logits (B, K), labels (B,)) -> scalar``, mixed as MixUp does:
    ``lam loss(z, y) + (1 - lam) loss(z, partner)``.
    """
    if weights is not None or targets.label_smoothing:
        what = 'label_smoothing needs' if weights is None else 'weights of the classes (beta) need'
        raise BCE3SError(
            f'{type(loss).__name__} gives one number a batch, but {what} one a sample: '
            'derive it from bce3s.losses.CEJoint and write its rows.'
        )
    values = []
    for z, lam in zip(logits, targets.lam, strict=True):
        value = loss(z, targets.labels)
        if targets.partners is not None:
            value = lam * value + (1 - lam) * loss(z, targets.partners)
        values.append(value.expand(len(z)))
    return targets.share.mean(torch.stack(values).mean(0))


def contrastive_loss(
    loss: nn.Module,
    projections: Tensor,
    soft: Tensor,
    memory: tuple[Tensor, Tensor],
    targets: Targets,
) -> Tensor:
    """Sum over views of the means over the samples of the global batch."""
    names = loss.views or targets.views[1:] or targets.views
    missing = [name for name in names if name not in targets.views]
    if missing:
        raise BCE3SError(
            f'{type(loss).__name__}: no view {missing[0]!r} among {targets.views}; the views come '
            "from 'mix' of the data_preprocessor."
        )
    chosen = [targets.views.index(name) for name in names]
    z, soft = (torch.stack([views[v] for v in chosen]) for views in (projections, soft))
    value = targets.share.mean(loss.rows(z, soft, *memory)).sum()
    return value if targets.clock.epoch >= loss.start_epoch else 0 * value
