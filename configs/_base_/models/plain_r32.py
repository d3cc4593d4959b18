"""A plain linear classifier on the true CIFAR ResNet-32: one view, one branch, free weights."""

_base_ = './bce3s_r32.py'

model = dict(
    data_preprocessor=dict(mix=[]),
    head=dict(
        joint=dict(_delete_=True, type='CEJoint'),
        contrastive=None,
        uniformity=None,
        classifier=dict(normalize_weight=False),
    ),
)
