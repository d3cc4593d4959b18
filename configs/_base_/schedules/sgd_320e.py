"""320 epochs of one stage: SGD, momentum 0.9, weight decay 5e-3, rate 0.01 with a cosine to 0.

As BCE3S published it; its cosine (``shift=1``) trains the last epoch at rate 0.
"""

_base_ = '../default_runtime.py'

train_cfg = dict(by_epoch=True, max_epochs=320, val_interval=5)
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-3, fused=True),
)
default_hooks = dict(schedule=dict(type='CosineLRHook', shift=1.0))
