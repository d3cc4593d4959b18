"""Ablation row "BCE joint + uniformity": one stage, three views.

CIFAR-100-LT, imbalance factor 100, ResNet-34; arXiv 2511.14097.
Expected Many/Medium/Few: 81.03/56.51/19.20, All: 53.90. All rows share the views and
the schedule; negatives are resampled in BCE branches only.
Not measured yet.

    python tools/train.py configs/bce3s/ablation/cifar100lt_if100_bce_joint_uniformity.py
"""

_base_ = '../cifar100lt_if100.py'

train_cfg = dict(max_epochs=320, finetune_epochs=0)
model = dict(head=dict(contrastive=None))
