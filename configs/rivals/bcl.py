"""BCL: CIFAR-100-LT, imbalance factor 100, true ResNet-32.

Zhu et al., Balanced Contrastive Learning for Long-Tailed Visual Recognition (CVPR 2022, arXiv
2207.09052). Three views of each image: as in the other configs for the classifier, whose loss is
the logit-adjusted cross-entropy, and two of SimCLR for the contrastive term; temperature 0.1. The
code of CIFAR-LT was not published: weights (1, 0.35) are those of ImageNet-LT, 128 features of a
projection our reading.

The published figure could not be checked against its source, so it is left out.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/bcl.py
"""

_base_ = '../_base_/rivals_simclr.py'

model = dict(
    head=dict(
        _delete_=True,
        type='BCLHead',
        num_classes=100,
        in_channels=64,
        joint=dict(type='LogitAdjustedCE'),
        weights=dict(joint=1.0, contrastive=0.35),
        tau=0.1,
        classifier=dict(type='LinearClassifier', normalize_weight=False),
    ),
)
