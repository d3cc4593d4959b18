"""Plain softmax cross-entropy: CIFAR-10-LT, imbalance factor 100.

Network: ResNet-34. One view (no mixing), natural sampling, a linear classifier; data,
augmentation and schedule as in configs/bce3s.
Expected: no published figure for this recipe. Not measured yet.

    python tools/train.py configs/baselines/cifar10lt_if100_ce.py

Binary cross-entropy: --cfg-options model.head.joint.type=BCEJoint
Another factor: --cfg-options train_dataloader.dataset.imbalance_factor=50
"""

_base_ = [
    '../_base_/datasets/cifar10lt.py',
    '../_base_/models/plain_r32.py',
    '../_base_/schedules/sgd_320e.py',
]

model = dict(
    backbone=dict(_delete_=True, type='ResNet_CIFAR', depth=34),
    head=dict(in_channels=512, num_classes=10),
)
train_dataloader = dict(dataset=dict(imbalance_factor=100))
default_hooks = dict(checkpoint=dict(interval=5))
