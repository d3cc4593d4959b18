"""The names that configs know the plain classes of this package by: the very classes that a loop
without MMEngine imports.
"""

from bce3s import augmentation, losses, models, samplers
from bce3s.datasets import whole_batches
from bce3s.registry import (
    BATCH_AUGMENTS,
    DATA_SAMPLERS,
    DATASETS,
    FUNCTIONS,
    MODELS,
    TRANSFORMS,
)

PLAIN = {
    DATA_SAMPLERS: (
        samplers.NaturalSampler,
        samplers.PowerSampler,
        samplers.ProgressiveSampler,
        samplers.EffectiveNumberSampler,
        samplers.GlobalBatchSampler,
        samplers.PairedBatchSampler,
    ),
    DATASETS: (
        whole_batches.CIFAR10LT,
        whole_batches.CIFAR100LT,
        whole_batches.DigitsCanvasLT,
        whole_batches.DigitsLT,
        whole_batches.FashionMNISTLT,
        whole_batches.MNISTLT,
    ),
    FUNCTIONS: (whole_batches.collated, whole_batches.passthrough),
    TRANSFORMS: (
        augmentation.BatchAutoAugment,
        augmentation.BatchColorJitter,
        augmentation.BatchCutout,
        augmentation.BatchFlip,
        augmentation.BatchGrayscale,
        augmentation.BatchPadCrop,
        augmentation.BatchRandAugment,
        augmentation.BatchResizedCrop,
    ),
    BATCH_AUGMENTS: (
        augmentation.MixUpOrCutMix,
        augmentation.PairedCutMix,
        augmentation.PairedMixUp,
        augmentation.PairedPartner,
    ),
    MODELS: (
        losses.AsymmetricBCE,
        losses.BCEContrastive,
        losses.BCEJoint,
        losses.BCEUniformity,
        losses.BalancedBCE,
        losses.BatchBalancedWeights,
        losses.CEContrastive,
        losses.CEJoint,
        losses.CEUniformity,
        losses.DistributionBalancedBCE,
        losses.DotRegression,
        losses.EffectiveNumberWeights,
        losses.FocalBCE,
        losses.FocalCE,
        losses.InverseSoftmaxCE,
        losses.LDAM,
        losses.LabelAwareSmoothingCE,
        losses.LogitAdjustedCE,
        models.BCLHead,
        models.ETFClassifier,
        models.ExpertsClassifier,
        models.ExpertsHead,
        models.GLMCHead,
        models.H2THead,
        models.LWSClassifier,
        models.LinearClassifier,
        models.ProCoHead,
        models.RotatedETFClassifier,
        models.SampledClassifier,
        models.SampledTripartiteHead,
        models.TripartiteHead,
    ),
}

for registry, classes in PLAIN.items():
    for each in classes:
        registry.register_module(module=each)
