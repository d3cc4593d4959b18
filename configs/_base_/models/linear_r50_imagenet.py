"""A linear classifier with BCE on ResNet-50 (stem of ImageNet, 2,048 features), pretrained.

The weights are torchvision's of 90 epochs (IMAGENET1K_V1), fetched when training begins.
"""

model = dict(
    type='LongTailedClassifier',
    data_preprocessor=dict(
        type='LongTailedPreprocessor',
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    ),
    backbone=dict(
        type='ResNet',
        depth=50,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='TripartiteHead',
        num_classes=1000,
        in_channels=2048,
        joint=dict(type='BCEJoint'),
        classifier=dict(type='LinearClassifier', normalize_weight=False, init='kaiming_uniform'),
    ),
)
