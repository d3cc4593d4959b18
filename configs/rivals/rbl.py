"""RBL: a simplex ETF of which the rotation is learnt, our reading.

"Feature Directions Matter", ICML 2023, PMLR 202. The loss, scale and figures of the paper could not
be read: ours are CE over cosines of scale 16, the lift and BatchNorm of etf_dr.py, and a tenth of
the rate for the rotation, which at the full rate makes the training loss rise in the first epochs.
Not measured yet.

    python tools/train.py configs/rivals/rbl.py
"""

_base_ = '../_base_/rivals_r32.py'

model = dict(
    # the true ResNet-32 has 64 features, a simplex of 100 classes needs 99: lifted to 128
    neck=dict(
        _delete_=True,
        type='LinearNeck',
        in_channels=64,
        out_channels=128,
        gap_dim=2,
        norm_cfg=dict(type='BN1d'),
    ),
    head=dict(
        in_channels=128,
        classifier=dict(_delete_=True, type='RotatedETFClassifier', scale=16.0),
    ),
)
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'head.classifier.rotation': dict(lr_mult=0.1, decay_mult=0.0)}),
)
