"""`sgd_90e.py`, then 10 epochs of the classifier alone.

The second stage as on CIFAR-LT (fresh momentum, a hundredth of the rate, no decay, a cosine of its
own): our reading.
To shorten: --cfg-options train_cfg.max_epochs=12 train_cfg.finetune_epochs=2
"""

_base_ = './sgd_90e.py'

train_cfg = dict(max_epochs=100, finetune_epochs=10)
default_hooks = dict(schedule=dict(_delete_=True, type='TwoStageHook', lr=1e-3))
