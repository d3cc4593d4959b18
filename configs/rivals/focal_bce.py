"""Focal BCE: focal loss with a sigmoid a class, gamma = 2, as in RetinaNet.

ICCV 2017, arXiv 1708.02002, without its factor alpha; the bias starts at -log(K - 1). No figure of
this recipe was found in a source that could be read.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/focal_bce.py
"""

_base_ = '../_base_/rivals_r32.py'

model = dict(
    head=dict(
        joint=dict(type='FocalBCE', gamma=2.0),
        classifier=dict(bias_mean=4.595),  # log 99
    ),
)
