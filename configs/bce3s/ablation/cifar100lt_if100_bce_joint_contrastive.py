"""Ablation row "BCE joint + contrastive": one stage, three views.

CIFAR-100-LT, imbalance factor 100, ResNet-34; arXiv 2511.14097.
Expected Many/Medium/Few: 82.74/56.57/20.63, All: 54.95. All rows share the views and
the schedule; negatives are resampled in BCE branches only.
Not measured yet.

    python tools/train.py configs/bce3s/ablation/cifar100lt_if100_bce_joint_contrastive.py
"""

_base_ = '../cifar100lt_if100.py'

train_cfg = dict(max_epochs=320, finetune_epochs=0)
model = dict(head=dict(uniformity=None))
