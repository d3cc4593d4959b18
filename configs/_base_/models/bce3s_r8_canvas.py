"""BCE3S on 16 x 16 grey pictures with several labels, with a small ResNet-8: for two cores."""

_base_ = './bce3s_r20_digits.py'

model = dict(
    data_preprocessor=dict(mean=(0.124,), std=(0.281,)),
    backbone=dict(depth=8, stem_stride=2),
    head=dict(
        joint=dict(_delete_=True, type='BCEJoint'),
        contrastive=dict(type='BCEContrastive', tau=1.0),
    ),
)
