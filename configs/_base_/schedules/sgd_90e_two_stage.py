"""`sgd_90e.py`, then 10 epochs of the classifier alone.

The second stage as on CIFAR-LT (fresh momentum, a hundredth of the rate, no decay, a cosine of its
own): our reading.
To shorten: --cfg-options train_cfg.max_epochs=12 custom_hooks.0.finetune_epochs=2
"""

_base_ = './sgd_90e.py'

train_cfg = dict(max_epochs=100)
custom_hooks = [dict(type='TwoStageHook', finetune_epochs=10, lr=1e-3)]
find_unused_parameters = True  # several processes: the second stage uses the classifier only
