"""NC-DRW: terms of neural collapse about learnable centres, and deferred re-weighting.

AISTATS 2023, arXiv 2302.12453. The centres of its code have an SGD of their own, rate 0.5, no
momentum, and a gradient divided by lambda_1 = 0.01: here 50 times the rate 0.1 with the momentum
0.9 of all, which is the same pace, and they follow warm-up and cosine. Its figure could not be read
in a source.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/nc_drw.py
"""

_base_ = '../_base_/rivals_r32.py'

model = dict(
    head=dict(
        reweight=dict(type='EffectiveNumberWeights', beta=0.9999, start=0.8, mean_over='samples'),
        centers=dict(compactness=0.01, separation=0.1),
    ),
)
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'head.centers': dict(lr_mult=50.0, decay_mult=0.0)}),
)
