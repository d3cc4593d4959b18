"""BCE3S in one stage on long-tailed digits (scikit-learn's, 8 x 8): nothing to download.

Measured: see README.md.

    python tools/train.py configs/bce3s/digits_one_stage.py
"""

_base_ = [
    '../_base_/datasets/digitslt.py',
    '../_base_/models/bce3s_r20_digits.py',
    '../_base_/schedules/sgd_120e_digits.py',
]

train_dataloader = dict(batch_size=32, batch_sampler=dict(type='PairedBatchSampler'))
default_hooks = dict(checkpoint=dict(interval=10))
