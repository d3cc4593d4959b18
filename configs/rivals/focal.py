"""Focal: focal loss over the softmax, gamma = 1.

ICCV 2017, arXiv 1708.02002; gamma as in the baselines of the long-tailed literature (1 or 2). No
figure of this recipe was found in a source that could be read.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/focal.py
"""

_base_ = '../_base_/rivals_r32.py'

model = dict(head=dict(joint=dict(type='FocalCE', gamma=1.0)))
