"""LOS: label over-smoothing: CE, then a second stage with labels smoothed by 0.98.

Sun et al., Rethinking Classifier Re-Training in Long-Tailed Recognition: Label Over-Smooth Can
Balance (ICLR 2025, arXiv 2403.00250). 0.98 is meant as PyTorch means it: of 100 classes the target
of the label's class is 0.0298, that of each other one 0.0098. Natural draws, no class counts, 20
epochs, no decay, rate 5e-4 for a batch of 64 (here 1e-3 for 128). Published figures are of other
networks.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/los.py
    ... --cfg-options train_cfg.max_epochs=20 load_from=PATH  # the second stage alone
"""

_base_ = '../_base_/rivals_r32_two_stage.py'

train_cfg = dict(max_epochs=220, finetune_epochs=20)
model = dict(head=dict(finetune=dict(type='LabelAwareSmoothingCE', head=0.98, tail=0.98)))
default_hooks = dict(schedule=dict(lr=1e-3))
