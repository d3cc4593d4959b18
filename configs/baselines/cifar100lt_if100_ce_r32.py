"""Plain softmax cross-entropy: CIFAR-100-LT, imbalance factor 100.

Network: the true CIFAR ResNet-32 (0.46 M parameters). One view (no mixing), natural sampling, a
linear classifier; data, augmentation and schedule as in configs/bce3s.
Expected: no published figure for this recipe. Measured: see configs/bce3s/README.md.

    python tools/train.py configs/baselines/cifar100lt_if100_ce_r32.py

Binary cross-entropy: --cfg-options model.head.joint.type=BCEJoint
Another factor: --cfg-options train_dataloader.dataset.imbalance_factor=50
"""

_base_ = [
    '../_base_/datasets/cifar100lt.py',
    '../_base_/models/plain_r32.py',
    '../_base_/schedules/sgd_320e.py',
]

train_dataloader = dict(dataset=dict(imbalance_factor=100))
# the usual values of this network; the published rate 0.01 and decay 5e-3 are ResNet-34's
optim_wrapper = dict(optimizer=dict(lr=0.05, weight_decay=5e-4))
default_hooks = dict(schedule=dict(_delete_=True, type='CosineLRHook'), checkpoint=dict(interval=5))
