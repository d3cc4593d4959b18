"""BCE3S in two stages on long-tailed digits (scikit-learn's, 8 x 8): nothing to download.

Measured: see README.md.

    python tools/train.py configs/bce3s/digits.py
"""

_base_ = './digits_one_stage.py'

train_cfg = dict(max_epochs=130, finetune_epochs=10)
default_hooks = dict(schedule=dict(type='TwoStageHook', lr=0.01))
