"""BCE3S in two stages on a tiny folder of images, read by two worker processes.

Made by ``harness.make_folder``: 24, 12 and 8 training images of 12 x 12 in three classes.
"""

_base_ = [
    '../../configs/_base_/models/bce3s_r20_digits.py',
    '../../configs/_base_/schedules/sgd_120e_digits.py',
    '../../configs/_base_/default_runtime.py',
]

_loader = dict(
    batch_size=8,
    num_workers=2,
    collate_fn=dict(type='default_collate'),
)
train_dataloader = dict(
    **_loader,
    sampler=dict(type='NaturalSampler'),
    batch_sampler=dict(type='PairedBatchSampler'),
    dataset=dict(type='ImageFolder', data_root='images', split='train', size=8, resize=8),
)
val_dataloader = dict(
    **_loader,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ImageFolder', data_root='images', split='test', size=8, resize=8),
)
val_cfg = dict()
val_evaluator = dict(type='LongTailedMetric')
model = dict(
    data_preprocessor=dict(mean=(0.5,) * 3, std=(0.3,) * 3),
    backbone=dict(in_channels=3),
    head=dict(num_classes=3),
)
default_hooks = dict(schedule=dict(type='TwoStageHook', lr=0.01))
