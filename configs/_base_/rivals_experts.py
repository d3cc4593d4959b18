"""The harness of the rivals with three experts in the place of one network.

They share stem and first stage of the ResNet-32; each has its own further two, of three quarters of
the channels (24, 48), and a cosine classifier of scale 30, as in RIDE and SADE; 0.78 M parameters.
"""

_base_ = './rivals_r32.py'

model = dict(
    backbone=dict(_delete_=True, type='ExpertsCIFARResNet', depth=32, experts=3, expert_width=0.75),
    head=dict(
        _delete_=True,
        type='ExpertsHead',
        num_classes=100,
        in_channels=144,
        classifier=dict(type='ExpertsClassifier', experts=3),
    ),
)
