"""H2T: head-to-tail fusion: CE with MixUp, then a quarter of each feature from another image.

Li et al., Feature Fusion from Head to Tail for Long-Tailed Visual Recognition (AAAI 2024, arXiv
2306.06963). Second stage: 10 epochs at rate 0.02 with decay 5e-4, images drawn class-balanced,
partners naturally. Images and partners pass BatchNorm together, in the public code one after the
other. Published (200 epochs, crop and flip, rate in steps): 39.55 after the first stage, 47.80
after the second.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/h2t.py
    ... --cfg-options train_cfg.max_epochs=10 load_from=PATH  # the second stage alone
"""

_base_ = '../_base_/rivals_r32_two_stage.py'

train_dataloader = dict(batch_sampler=dict(type='PairedBatchSampler'))
model = dict(
    data_preprocessor=dict(
        batch_mix=dict(type='MixUpOrCutMix', mixup_alpha=1.0, prob=1.0, switch_prob=0.0),
        finetune_mix=[dict(type='PairedPartner')],
    ),
    head=dict(type='H2THead', rho=0.25),
)
default_hooks = dict(
    schedule=dict(lr=0.02, weight_decay=5e-4, sampler=dict(type='PowerSampler', q=1)),
)
