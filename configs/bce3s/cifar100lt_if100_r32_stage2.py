"""BCE3S, its second stage alone, from a checkpoint of the first (cifar100lt_if100_r32_stage1.py).

Expected: as cifar100lt_if100_r32.py, which trains both stages in one run.

    python tools/train.py configs/bce3s/cifar100lt_if100_r32_stage2.py --cfg-options load_from=PATH
"""

_base_ = './cifar100lt_if100_r32.py'

train_cfg = dict(max_epochs=10)
