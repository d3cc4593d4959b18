"""BCE3S on 32 x 32 images with ResNet-34 (3 x 3 stem, 512 features), with the published values.

Every quirk of the public implementation is on, each a named option; `bce3s_r32.py` has the sound
values.
"""

model = dict(
    type='LongTailedClassifier',
    flip_tta=True,  # reported beside the plain figure, named as such
    data_preprocessor=dict(
        type='LongTailedPreprocessor',
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
        augment=[
            dict(type='BatchPadCrop', padding=4),
            dict(type='BatchFlip'),
            dict(type='BatchAutoAugment', policy='cifar10'),
            dict(type='BatchCutout', size=16),
        ],
        mix=[dict(type='PairedMixUp'), dict(type='PairedCutMix', correct_lambda=False)],
    ),
    backbone=dict(type='ResNet_CIFAR', depth=34),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='TripartiteHead',
        num_classes=100,
        in_channels=512,
        joint=dict(
            type='BCEJoint', resample=0.4, soft_negatives=False, drop_positives=True, clamp=64.0
        ),
        contrastive=dict(
            type='BCEContrastive', tau=1.0, start_epoch=1, soft_negatives=False, clamp=64.0
        ),
        uniformity=dict(type='BCEUniformity', include_diagonal=True),
        weights=dict(joint=1.0, contrastive=0.1, uniformity=1.0),
        beta=0.99999,
    ),
)
