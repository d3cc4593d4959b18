"""The harness of configs/rivals with a second stage: 200 epochs, then 10 of the classifier alone.

Statistics of BatchNorm move in the second stage, as in the public code of each of these methods
(``default_hooks.schedule.freeze_norm=True``: they stay), rows of the loss weigh alike.
"""

_base_ = './rivals_r32.py'

train_cfg = dict(max_epochs=210, finetune_epochs=10)
model = dict(head=dict(beta=None))
default_hooks = dict(schedule=dict(type='TwoStageHook', freeze_norm=False))
