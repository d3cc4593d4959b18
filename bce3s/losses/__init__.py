"""The equations: plain tensors in, a tensor out; nothing but PyTorch is needed.

    loss = BCEJoint(resample=0.4)(logits, labels)  # (B, K) and integer (B,) or soft (B, K)

:mod:`~bce3s.losses.functional` has each equation as a function, the modules their options.
"""

from .adjusted import BalancedBCE, LogitAdjustedCE
from .bcl import balanced_contrastive
from .centers import CenterTerms
from .contrastive import BCEContrastive, CEContrastive
from .counted import CountedLoss
from .decay import FeatureDecay
from .dot_regression import DotRegression
from .experts import InverseSoftmaxCE, class_temperatures, expert_divergence
from .focal import FocalBCE, FocalCE
from .functional import (
    asymmetric_bce,
    bce_uniformity,
    ce_uniformity,
    class_balanced_weights,
    distribution_balanced_bce,
    focal_bce,
    focal_cross_entropy,
    label_aware_smoothing,
    label_distribution_margins,
    log_prior,
    multilabel_bce,
    power_weights,
    soft_cross_entropy,
    soft_labels,
)
from .glmc import simsiam
from .joint import BCEJoint, CEJoint
from .ldam import LDAM
from .resampling import resample_classes, sample_classes
from .reweighting import BatchBalancedWeights, EffectiveNumberWeights
from .several_labels import AsymmetricBCE, DistributionBalancedBCE
from .smoothing import LabelAwareSmoothingCE
from .uniformity import BCEUniformity, CEUniformity
from .vmf import concentration, log_bessel, vmf_logits

__all__ = [
    'LDAM',
    'AsymmetricBCE',
    'BCEContrastive',
    'BCEJoint',
    'BCEUniformity',
    'BalancedBCE',
    'BatchBalancedWeights',
    'CEContrastive',
    'CEJoint',
    'CEUniformity',
    'CenterTerms',
    'CountedLoss',
    'DistributionBalancedBCE',
    'DotRegression',
    'EffectiveNumberWeights',
    'FeatureDecay',
    'FocalBCE',
    'FocalCE',
    'InverseSoftmaxCE',
    'LabelAwareSmoothingCE',
    'LogitAdjustedCE',
    'asymmetric_bce',
    'balanced_contrastive',
    'bce_uniformity',
    'ce_uniformity',
    'class_balanced_weights',
    'class_temperatures',
    'concentration',
    'distribution_balanced_bce',
    'expert_divergence',
    'focal_bce',
    'focal_cross_entropy',
    'label_aware_smoothing',
    'label_distribution_margins',
    'log_bessel',
    'log_prior',
    'multilabel_bce',
    'power_weights',
    'resample_classes',
    'sample_classes',
    'simsiam',
    'soft_cross_entropy',
    'soft_labels',
    'vmf_logits',
]
