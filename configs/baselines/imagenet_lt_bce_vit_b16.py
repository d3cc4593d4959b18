"""Plain binary cross-entropy, 100 epochs: ImageNet-LT, ViT-B/16.

All else as in imagenet_lt_ce_vit_b16.py.
Expected: no published figure for this recipe. Not measured yet.

    python tools/train.py configs/baselines/imagenet_lt_bce_vit_b16.py
"""

_base_ = './imagenet_lt_ce_vit_b16.py'

model = dict(head=dict(joint=dict(type='BCEJoint')))
