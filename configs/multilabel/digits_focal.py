"""Focal loss (Lin et al., ICCV 2017) over all labels of the digits on canvases: one view.

Every picture once an epoch, which was better here than drawing class by class.

Measured: see README.md.

    python tools/train.py configs/multilabel/digits_focal.py
"""

_base_ = './digits_bce.py'

train_dataloader = dict(sampler=dict(_delete_=True, type='NaturalSampler'))
model = dict(head=dict(joint=dict(_delete_=True, type='FocalBCE', gamma=2.0)))
