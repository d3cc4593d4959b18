"""The equations: plain tensors in, a tensor out; nothing but PyTorch is needed.

    loss = BCEJoint(resample=0.4)(logits, labels)  # (B, K) and integer (B,) or soft (B, K)

:mod:`~bce3s.losses.functional` has each equation as a function, the modules their options.
"""

from .contrastive import BCEContrastive, CEContrastive
from .decay import FeatureDecay
from .functional import (
    bce_uniformity,
    ce_uniformity,
    class_balanced_weights,
    multilabel_bce,
    soft_cross_entropy,
    soft_labels,
)
from .glmc import power_weights, simsiam
from .joint import BCEJoint, CEJoint
from .resampling import resample_classes, sample_classes
from .uniformity import BCEUniformity, CEUniformity
from .vmf import concentration, log_bessel, vmf_logits

__all__ = [
    'BCEContrastive',
    'BCEJoint',
    'BCEUniformity',
    'CEContrastive',
    'CEJoint',
    'CEUniformity',
    'FeatureDecay',
    'bce_uniformity',
    'ce_uniformity',
    'class_balanced_weights',
    'concentration',
    'log_bessel',
    'multilabel_bce',
    'power_weights',
    'resample_classes',
    'sample_classes',
    'simsiam',
    'soft_cross_entropy',
    'soft_labels',
    'vmf_logits',
]
