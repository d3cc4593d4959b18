"""RBL: a simplex ETF of which the rotation is learnt, our reading.

"Feature Directions Matter", ICML 2023, PMLR 202. The loss, scale and figures of the paper could not
be read: ours are CE over cosines of scale 16, the lift and BatchNorm of etf_dr.py, and a tenth of
the rate for the rotation, which at the full rate makes the training loss rise in the first epochs.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/rbl.py
"""

_base_ = '../_base_/rivals_r32_lifted.py'

model = dict(
    head=dict(
        classifier=dict(_delete_=True, type='RotatedETFClassifier', scale=16.0),
    ),
)
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'head.classifier.rotation': dict(lr_mult=0.1, decay_mult=0.0)}),
)
