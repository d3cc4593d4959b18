"""BCE3S on 32 x 32 images with ResNet-34 (3 x 3 stem, 512 features), as published.

What differs from `bce3s_r32.py` besides the network are the contrastive branch and the quirks of
the public implementation, each a named option of the component it belongs to.
"""

_base_ = './bce3s_r32.py'

model = dict(
    data_preprocessor=dict(
        mix=[dict(type='PairedMixUp'), dict(type='PairedCutMix', correct_lambda=False)],
    ),
    backbone=dict(_delete_=True, type='ResNet_CIFAR', depth=34),
    head=dict(
        in_channels=512,
        joint=dict(soft_negatives=False, drop_positives=True, clamp=64.0),
        contrastive=dict(
            type='BCEContrastive', tau=1.0, start_epoch=1, soft_negatives=False, clamp=64.0
        ),
        uniformity=dict(include_diagonal=True),
    ),
)
