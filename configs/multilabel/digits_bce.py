"""Plain binary cross-entropy over all labels of the digits on canvases: one view.

Measured: see README.md.

    python tools/train.py configs/multilabel/digits_bce.py
"""

_base_ = './digits_one_stage.py'

train_dataloader = dict(batch_sampler=dict(type='GlobalBatchSampler'))
model = dict(
    data_preprocessor=dict(mix=[]),
    head=dict(contrastive=None, uniformity=None, classifier=dict(normalize_weight=False)),
)
