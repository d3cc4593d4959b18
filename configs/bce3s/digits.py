"""BCE3S in two stages on long-tailed digits (scikit-learn's, 8 x 8): nothing to download.

Measured: see README.md.

    python tools/train.py configs/bce3s/digits.py
"""

_base_ = './digits_one_stage.py'

train_cfg = dict(max_epochs=130)
custom_hooks = [dict(type='TwoStageHook', finetune_epochs=10, lr=0.01)]
find_unused_parameters = True  # several processes: the second stage uses the classifier only
