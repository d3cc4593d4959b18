"""`adamw_100e.py`, then 10 epochs of the classifier alone: our reading.

To shorten: --cfg-options train_cfg.max_epochs=12 custom_hooks.0.finetune_epochs=2
custom_hooks.0.warmup_epochs=1
"""

_base_ = './adamw_100e.py'

train_cfg = dict(max_epochs=110)
custom_hooks = [dict(type='TwoStageHook', finetune_epochs=10, lr=1e-4, warmup_epochs=5)]
find_unused_parameters = True  # several processes: the second stage uses the classifier only
