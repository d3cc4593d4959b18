"""The harness of the rivals with features that hold a simplex of 100 classes.

It needs 99 of them, and the true ResNet-32 has 64: a linear layer with BatchNorm lifts them to 128.
"""

_base_ = './rivals_r32.py'

model = dict(
    neck=dict(
        _delete_=True,
        type='LinearNeck',
        in_channels=64,
        out_channels=128,
        gap_dim=2,
        norm_cfg=dict(type='BN1d'),
    ),
    head=dict(in_channels=128),
)
