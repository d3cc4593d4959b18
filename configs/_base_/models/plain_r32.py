"""A plain linear classifier on the true CIFAR ResNet-32: one view, no resampling, no projector."""

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
    ),
    backbone=dict(type='CIFARResNet', depth=32),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='TripartiteHead',
        num_classes=100,
        in_channels=64,
        joint=dict(type='CEJoint'),
        normalize_weight=False,
    ),
)
