"""BCE3S in two stages on pictures with several labels, the digits on canvases: nothing to download.

Measured: see README.md.

    python tools/train.py configs/multilabel/digits.py --work-dir work_dirs/canvases
    python tools/test.py configs/multilabel/digits.py work_dirs/canvases/epoch_65.pth
"""

_base_ = './digits_one_stage.py'

train_cfg = dict(max_epochs=65, finetune_epochs=5)
default_hooks = dict(schedule=dict(type='TwoStageHook', lr=0.01))
