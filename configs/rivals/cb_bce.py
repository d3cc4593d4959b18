"""CB-BCE: class-balanced BCE, a weight of each sample by the size of its class.

CVPR 2019, arXiv 1901.05555, beta = 0.9999, "class-balanced sigmoid"; the bias starts at -log(K -
1). (LiVT's CB-BCE weighs the columns instead: see bal_bce.py.) No figure of this recipe was found
in a source that could be read.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/cb_bce.py
"""

_base_ = '../_base_/rivals_r32.py'

model = dict(
    head=dict(
        joint=dict(type='BCEJoint'),
        classifier=dict(bias_mean=4.595),  # log 99
        reweight=dict(type='EffectiveNumberWeights', beta=0.9999),
    ),
)
