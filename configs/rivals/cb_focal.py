"""CB focal: class-balanced focal loss, sigmoids, gamma = 1, beta = 0.9999.

CVPR 2019, arXiv 1901.05555. gamma is chosen in the paper (0.5, 1, 2). No figure of this recipe was
found in a source that could be read.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/cb_focal.py
"""

_base_ = '../_base_/rivals_r32.py'

model = dict(
    head=dict(
        joint=dict(type='FocalBCE', gamma=1.0),
        classifier=dict(bias_mean=4.595),  # log 99
        reweight=dict(type='EffectiveNumberWeights', beta=0.9999),
    ),
)
