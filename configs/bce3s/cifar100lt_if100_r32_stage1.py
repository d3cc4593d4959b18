"""BCE3S, its first stage alone; all else as in cifar100lt_if100_r32.py.

Expected: no published figure for this network.
Measured: see configs/bce3s/README.md.

    python tools/train.py configs/bce3s/cifar100lt_if100_r32_stage1.py
"""

_base_ = './cifar100lt_if100_r32.py'

train_cfg = dict(max_epochs=320, finetune_epochs=0)
default_hooks = dict(schedule=dict(_delete_=True, type='CosineLRHook'))
