"""BCE3S in two stages: CIFAR-10-LT, imbalance factor 100.

AAAI 2026, arXiv 2511.14097. Network: the true CIFAR ResNet-32 (0.46 M parameters). The recommended
defaults in the place of the published quirks, and two of the three branches: joint and uniformity.
To switch the third on: --cfg-options "model.head.contrastive=dict(type='BCEContrastive')"

Expected: no published figure for this network.
Not measured yet.

    python tools/train.py configs/bce3s/cifar10lt_if100_r32.py

Another factor: --cfg-options train_dataloader.dataset.imbalance_factor=50
The first stage alone: --cfg-options train_cfg.max_epochs=320 train_cfg.finetune_epochs=0
The second alone, from a checkpoint: --cfg-options train_cfg.max_epochs=10 load_from=PATH
"""

_base_ = [
    '../_base_/datasets/cifar10lt.py',
    '../_base_/models/bce3s_r32.py',
    '../_base_/schedules/sgd_320e_two_stage.py',
]

model = dict(head=dict(num_classes=10))
train_dataloader = dict(
    batch_sampler=dict(type='PairedBatchSampler'),
    dataset=dict(imbalance_factor=100),
)
# the usual values of this network; the published rate 0.01 and decay 5e-3 are ResNet-34's
optim_wrapper = dict(optimizer=dict(lr=0.05, weight_decay=5e-4))
default_hooks = dict(
    schedule=dict(_delete_=True, type='TwoStageHook', lr=5e-4),
    checkpoint=dict(interval=5),
)
