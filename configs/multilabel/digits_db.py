"""Distribution-balanced loss (Wu et al., ECCV 2020) on the digits on canvases: one view.

Its weights make up for what drawing class by class does, as here and in the paper.

Measured: see README.md.

    python tools/train.py configs/multilabel/digits_db.py
"""

_base_ = './digits_bce.py'

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
