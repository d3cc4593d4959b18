"""Plain binary cross-entropy, 90 epochs: Places-LT, ResNet-50.

All else as in places_lt_ce_r50.py.
Expected: no published figure for this recipe. Not measured yet.

    python tools/train.py configs/baselines/places_lt_bce_r50.py
"""

_base_ = './places_lt_ce_r50.py'

model = dict(head=dict(joint=dict(type='BCEJoint')))
