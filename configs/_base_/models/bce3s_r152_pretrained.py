"""BCE3S with a pretrained ResNet-152 (58.1 M parameters), of which the last stage (15.0 M) learns.

torchvision's first weights (IMAGENET1K_V1), fetched when training begins, as in PaCo, which trains
the last block of the last stage and every BatchNorm; frozen here are the stem and three stages,
their BatchNorm included. Augmentation: colour jitter and grey images, as PaCo has it on Places-LT,
without its blur.
"""

_base_ = './bce3s_r50.py'

model = dict(
    data_preprocessor=dict(
        augment=[
            dict(type='BatchColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
            dict(type='BatchGrayscale', prob=0.2),
        ],
    ),
    backbone=dict(
        depth=152,
        frozen_stages=3,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet152'),
    ),
)
