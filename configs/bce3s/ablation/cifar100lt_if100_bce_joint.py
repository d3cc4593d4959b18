"""Ablation row "BCE joint": one stage, three views.

CIFAR-100-LT, imbalance factor 100, ResNet-34; arXiv 2511.14097.
Expected Many/Medium/Few: 81.11/55.06/17.40, All: 52.88. All rows share the views and
the schedule; negatives are resampled in BCE branches only.
Not measured yet.

    python tools/train.py configs/bce3s/ablation/cifar100lt_if100_bce_joint.py
"""

_base_ = '../cifar100lt_if100.py'

train_cfg = dict(max_epochs=320, finetune_epochs=0)
model = dict(head=dict(contrastive=None, uniformity=None))
