"""BCE3S in two stages: CIFAR-100-LT, imbalance factor 100.

AAAI 2026, arXiv 2511.14097. Network: ResNet-34 (the "ResNet-32" of the paper and its code).
Recipe and quirks of the public implementation.

Expected All: 57.75 (public log, last epoch without TTA, as our headline); 59.50 (paper). Imbalance
factor 50: 65.23, 10: 76.13 (paper).
Not measured yet.

    python tools/train.py configs/bce3s/cifar100lt_if100.py

Another factor: --cfg-options train_dataloader.dataset.imbalance_factor=50
The first stage alone: --cfg-options train_cfg.max_epochs=320 train_cfg.finetune_epochs=0
The second alone, from a checkpoint: --cfg-options train_cfg.max_epochs=10 load_from=PATH
"""

_base_ = [
    '../_base_/datasets/cifar100lt.py',
    '../_base_/models/bce3s_r34.py',
    '../_base_/schedules/sgd_320e_two_stage.py',
]

train_dataloader = dict(
    batch_sampler=dict(type='PairedBatchSampler'),
    dataset=dict(imbalance_factor=100),
)
default_hooks = dict(
    schedule=dict(_delete_=True, type='TwoStageHook', lr=1e-4, freeze_norm=False, shift=1.0),
    checkpoint=dict(interval=5),
)
