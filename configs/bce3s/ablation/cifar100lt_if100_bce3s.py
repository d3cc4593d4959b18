"""Ablation row "BCE3S (all three)": one stage, three views.

CIFAR-100-LT, imbalance factor 100, ResNet-34; arXiv 2511.14097.
Expected Many/Medium/Few: 83.34/57.09/22.80, All: 55.99 (paper); All: 54.73 (public log, last
epoch without TTA). All rows share the views and
the schedule; negatives are resampled in BCE branches only.
Not measured yet.

    python tools/train.py configs/bce3s/ablation/cifar100lt_if100_bce3s.py
"""

_base_ = '../cifar100lt_if100.py'

train_cfg = dict(max_epochs=320, finetune_epochs=0)
