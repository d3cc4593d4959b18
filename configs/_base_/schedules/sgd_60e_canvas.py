"""60 epochs of SGD: momentum 0.9, weight decay 5e-4, rate 0.05 with a cosine to 0."""

_base_ = '../default_runtime.py'

train_cfg = dict(by_epoch=True, max_epochs=60, val_interval=10)
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4, fused=True),
)
default_hooks = dict(schedule=dict(type='CosineLRHook'))
