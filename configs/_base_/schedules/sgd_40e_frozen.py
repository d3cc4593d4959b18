"""30 epochs of SGD for a head on fixed features, then 10 class-balanced ones.

The decay is strong: a linear classifier of 1,280 features tells a few images of a class apart by
anything.
"""

_base_ = '../default_runtime.py'

train_cfg = dict(by_epoch=True, max_epochs=40, val_interval=10, finetune_epochs=10)
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=0.05, fused=True),
)
default_hooks = dict(
    schedule=dict(type='TwoStageHook', lr=0.05),
    checkpoint=dict(interval=10),  # the frozen network is a part of it
)
