"""Bal-BCE: balanced binary cross-entropy, the log-odds of the prior in the logits.

LiVT, CVPR 2023, arXiv 2212.02015, which trains a ViT with it; no figure for a convolutional network
is published.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/bal_bce.py

The paper's label smoothing: --cfg-options model.data_preprocessor.label_smoothing=0.1
Its CB-BCE: --cfg-options model.head.joint.tau=0 model.head.joint.beta=0.9999
"""

_base_ = '../_base_/rivals_r32.py'

model = dict(head=dict(joint=dict(type='BalancedBCE')))
