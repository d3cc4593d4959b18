"""BCE3S in one stage on pictures with several labels, the digits on canvases: nothing to download.

Measured: see README.md.

    python tools/train.py configs/multilabel/digits_one_stage.py
"""

_base_ = [
    '../_base_/datasets/digits_canvas_lt.py',
    '../_base_/models/bce3s_r8_canvas.py',
    '../_base_/schedules/sgd_60e_canvas.py',
]

train_dataloader = dict(
    batch_size=32,
    sampler=dict(_delete_=True, type='PowerSampler', q=1.0),  # a class, then a picture with it
    batch_sampler=dict(type='PairedBatchSampler'),
)
default_hooks = dict(checkpoint=dict(interval=10))
