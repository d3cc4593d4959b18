"""Focal loss (Lin et al., ICCV 2017) over all labels of the digits on canvases: one view.

Measured: see README.md.

    python tools/train.py configs/multilabel/digits_focal.py
"""

_base_ = './digits_bce.py'

model = dict(head=dict(joint=dict(_delete_=True, type='FocalBCE', gamma=2.0)))
