"""Plain binary cross-entropy, 100 epochs: iNaturalist 2018, ViT-B/16.

All else as in inaturalist2018_ce_vit_b16.py.
Expected: no published figure for this recipe. Not measured yet.

    python tools/train.py configs/baselines/inaturalist2018_bce_vit_b16.py
"""

_base_ = './inaturalist2018_ce_vit_b16.py'

model = dict(head=dict(joint=dict(type='BCEJoint')))
