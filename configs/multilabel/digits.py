"""BCE3S in two stages on pictures with several labels, the digits on canvases: nothing to download.

Measured: see README.md.

    python tools/train.py configs/multilabel/digits.py
"""

_base_ = './digits_one_stage.py'

train_cfg = dict(max_epochs=65, finetune_epochs=5)
default_hooks = dict(schedule=dict(type='TwoStageHook', lr=0.01))
