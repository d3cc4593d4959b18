"""Ablation row "CE joint": one stage, three views.

CIFAR-100-LT, imbalance factor 100, ResNet-34; arXiv 2511.14097.
Expected Many/Medium/Few: 82.29/51.37/15.67, All: 51.48. All rows share the views and
the schedule; negatives are resampled in BCE branches only.
Not measured yet.

    python tools/train.py configs/bce3s/ablation/cifar100lt_if100_ce_joint.py
"""

_base_ = '../cifar100lt_if100.py'

train_cfg = dict(max_epochs=320, finetune_epochs=0)
model = dict(
    head=dict(
        joint=dict(_delete_=True, type='CEJoint'),
        contrastive=None,
        uniformity=None,
    ),
)
