"""30 epochs of AdamW on a pretrained network: rate 1e-4 with a cosine, decay 0.05.

ICML 2025, section 4.2, names the optimiser and the 30 epochs; rate, decay and schedule are our
reading.
"""

_base_ = '../default_runtime.py'

train_cfg = dict(by_epoch=True, max_epochs=30, val_interval=1)
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05, fused=True),
)
default_hooks = dict(schedule=dict(type='CosineLRHook', shift=0.0))
