"""100 epochs of AdamW, rate 0.001 with a cosine, decay 0.05 on all parameters; no warm-up.

ICML 2025, Table 5, settings 2, 4 and 6. Our reading: the cosine ``(1 + cos(pi e / E)) / 2`` of
epochs e = 0 .. E - 1, PyTorch's; the betas are PyTorch's too.
"""

_base_ = '../default_runtime.py'

train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=1)
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05, fused=True),
)
default_hooks = dict(schedule=dict(type='CosineLRHook', shift=0.0))
