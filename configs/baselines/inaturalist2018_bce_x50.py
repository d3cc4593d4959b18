"""Plain binary cross-entropy, 90 epochs: iNaturalist 2018, ResNeXt-50.

All else as in inaturalist2018_ce_x50.py.
Expected: no published figure for this recipe. Not measured yet.

    python tools/train.py configs/baselines/inaturalist2018_bce_x50.py
"""

_base_ = './inaturalist2018_ce_x50.py'

model = dict(head=dict(joint=dict(type='BCEJoint')))
