"""The public BCE3S schedule on CIFAR-LT: 320 epochs, then 10 of the classifier alone.

SGD with momentum 0.9, weight decay 5e-3 on everything, rate 0.01 with a cosine to 0, no warm-up;
second stage with fresh momentum, rate 1e-4, no weight decay, a cosine of its own. Both cosines
(``shift=1``) train the last epoch at rate 0.
To shorten: --cfg-options train_cfg.max_epochs=12 train_cfg.finetune_epochs=2
"""

_base_ = '../default_runtime.py'

train_cfg = dict(by_epoch=True, max_epochs=330, val_interval=5, finetune_epochs=10)
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-3, fused=True),
)
default_hooks = dict(schedule=dict(type='TwoStageHook', lr=1e-4, shift=1.0))
