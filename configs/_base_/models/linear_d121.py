"""A linear classifier with BCE on DenseNet-121 (7.0 M parameters, 1,024 features).

With the stem of ImageNet (7 x 7 of stride 2, max-pool), which leaves one pixel of 32 x 32: our
reading, after the paper's accuracies, which lie far below ResNet's. Convolutions start
Kaiming-normal, as in torchvision.
"""

_base_ = './linear_r18.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='DenseNet',
        arch='121',
        init_cfg=dict(type='Kaiming', layer='Conv2d', mode='fan_in'),
    ),
    head=dict(in_channels=1024),
)
