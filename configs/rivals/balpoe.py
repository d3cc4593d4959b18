"""BalPoE: three experts on a shared first stage; CIFAR-100-LT, imbalance factor 100, ResNet-32.

Aimar et al., Balanced Product of Calibrated Experts (CVPR 2023, arXiv 2206.05260): logit-adjusted
cross-entropies with tau = 0, 1, 2, their mean is the loss; experts of the full width (32, 64). The
paper's MixUp (alpha 0.4) is left out here: one view, as in the harness.

The published figure could not be checked against its source, so it is left out.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/balpoe.py

With MixUp: --cfg-options model.data_preprocessor.batch_mix.type=MixUpOrCutMix
model.data_preprocessor.batch_mix.mixup_alpha=0.4 model.data_preprocessor.batch_mix.switch_prob=0
model.data_preprocessor.batch_mix.prob=1
"""

_base_ = '../_base_/rivals_experts.py'

model = dict(
    backbone=dict(expert_width=1),
    head=dict(
        in_channels=192,
        joint=[
            dict(type='LogitAdjustedCE', tau=0.0),
            dict(type='LogitAdjustedCE', tau=1.0),
            dict(type='LogitAdjustedCE', tau=2.0),
        ],
        weights=dict(joint=1 / 3),
    ),
)
