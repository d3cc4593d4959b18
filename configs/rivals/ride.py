"""RIDE: three experts on a shared first stage; CIFAR-100-LT, imbalance factor 100, ResNet-32.

Wang et al., Long-Tailed Recognition by Routing Diverse Distribution-Aware Experts (ICLR 2021, arXiv
2010.01809): LDAM of each expert, from 80 % of the run on re-weighted (DRW), and 0.2 times their
divergence from the mean as a reward. The mean predicts; the second stage, which asks further
experts where the first are in doubt, saves time alone and is not here.

The published figure could not be checked against its source, so it is left out.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/ride.py
"""

_base_ = '../_base_/rivals_experts.py'

model = dict(
    head=dict(
        joint=dict(type='LDAM', max_margin=0.5, scale=30.0),
        weights=dict(diversity=-0.2),
        spread=0.05,
        reweight=dict(type='EffectiveNumberWeights', beta=0.9999, start=0.8, mean_over='samples'),
    ),
)
