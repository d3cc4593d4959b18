"""Asymmetric loss (Ridnik et al., ICCV 2021) over all labels of the digits on canvases: one view.

Measured: see README.md.

    python tools/train.py configs/multilabel/digits_asl.py
"""

_base_ = './digits_bce.py'

model = dict(
    head=dict(
        joint=dict(
            _delete_=True, type='AsymmetricBCE', positive_gamma=0.0, negative_gamma=2.0, margin=0.05
        ),
    ),
)
