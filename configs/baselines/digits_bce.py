"""Plain binary cross-entropy on long-tailed digits: one view, a linear classifier.

Measured: see README.md.

    python tools/train.py configs/baselines/digits_bce.py
"""

_base_ = '../bce3s/digits_one_stage.py'

train_dataloader = dict(batch_sampler=dict(type='GlobalBatchSampler'))
model = dict(
    data_preprocessor=dict(mix=[]),
    head=dict(
        joint=dict(_delete_=True, type='BCEJoint'),
        contrastive=None,
        uniformity=None,
        classifier=dict(normalize_weight=False),
    ),
)
