"""Distribution-balanced loss (Wu et al., ECCV 2020) on the digits on canvases: one view.

As in the paper the pictures are drawn class by class, which its weights make up for.

Measured: see README.md.

    python tools/train.py configs/multilabel/digits_db.py
"""

_base_ = './digits_bce.py'

train_dataloader = dict(sampler=dict(_delete_=True, type='PowerSampler', q=1.0))
model = dict(
    head=dict(
        joint=dict(
            _delete_=True,
            type='DistributionBalancedBCE',
            alpha=0.1,
            beta=10.0,
            mu=0.3,
            scale=5.0,
            kappa=0.05,
        ),
    ),
)
