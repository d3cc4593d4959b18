"""`adamw_100e.py`, then 10 epochs of the classifier alone: our reading.

To shorten: --cfg-options train_cfg.max_epochs=12 train_cfg.finetune_epochs=2
default_hooks.schedule.warmup_epochs=1
"""

_base_ = './adamw_100e.py'

train_cfg = dict(max_epochs=110, finetune_epochs=10)
default_hooks = dict(schedule=dict(_delete_=True, type='TwoStageHook', lr=1e-4, warmup_epochs=5))
