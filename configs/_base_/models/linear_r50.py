"""A linear classifier with BCE on ResNet-50 (3 x 3 stem, 23.5 M parameters, 2,048 features)."""

_base_ = './linear_r18.py'

model = dict(
    backbone=dict(type='ResNet_CIFAR', depth=50),
    head=dict(in_channels=2048),
)
