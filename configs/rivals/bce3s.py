"""BCE3S, second stage: BCE3S, then its classifier alone, class-balanced.

AAAI 2026, arXiv 2511.14097: `bce3s_one_stage.py`, then 10 epochs with rows weighted by the
effective number of samples (beta 0.99999). Published with ResNet-34, AutoAugment and Cutout: 57.75
in the public log, last epoch. The rate of the second stage is that of cifar100lt_if100_r32.py;
published is a hundredth of the first's.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/bce3s.py
    ... --cfg-options train_cfg.max_epochs=10 load_from=PATH  # the second stage alone
"""

_base_ = './bce3s_one_stage.py'

train_cfg = dict(max_epochs=210, finetune_epochs=10)
model = dict(head=dict(beta=0.99999))
default_hooks = dict(
    schedule=dict(_delete_=True, type='TwoStageHook', lr=5e-4, warmup_epochs=5, freeze_norm=True)
)
