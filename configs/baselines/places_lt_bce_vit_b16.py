"""Plain binary cross-entropy, 100 epochs: Places-LT, ViT-B/16.

All else as in places_lt_ce_vit_b16.py.
Expected: no published figure for this recipe. Not measured yet.

    python tools/train.py configs/baselines/places_lt_bce_vit_b16.py
"""

_base_ = './places_lt_ce_vit_b16.py'

model = dict(head=dict(joint=dict(type='BCEJoint')))
