"""100 epochs of SGD, rate 0.01 in steps, decay 5e-4 on all parameters; no warm-up.

ICML 2025, Table 5, settings 1, 3 and 5. Our reading: momentum 0.9 and, of "step", a tenth of the
rate after 40 % and again after 80 % of the epochs; neither is printed.
"""

_base_ = '../default_runtime.py'

train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=1)
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4, fused=True),
)
default_hooks = dict(schedule=dict(type='StepLRHook', milestones=(0.4, 0.8), gamma=0.1))
