"""BCE3S, its first stage alone; all else as in cifar100lt_if100.py.

Expected All: 55.99 (paper, ablation), 54.73 (public log, last epoch without TTA).
Not measured yet.

    python tools/train.py configs/bce3s/cifar100lt_if100_stage1.py
"""

_base_ = './cifar100lt_if100.py'

train_cfg = dict(max_epochs=320, finetune_epochs=0)
default_hooks = dict(schedule=dict(_delete_=True, type='CosineLRHook', shift=1.0))
