"""Plain binary cross-entropy, 90 epochs: ImageNet-LT, ResNeXt-50.

All else as in imagenet_lt_ce_x50.py.
Expected: no published figure for this recipe. Not measured yet.

    python tools/train.py configs/baselines/imagenet_lt_bce_x50.py
"""

_base_ = './imagenet_lt_ce_x50.py'

model = dict(head=dict(joint=dict(type='BCEJoint')))
