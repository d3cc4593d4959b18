"""Balanced softmax: the logit adjusted loss at tau = 1.

NeurIPS 2020, arXiv 2007.10740, and ICLR 2021, arXiv 2007.07314. Published under close conditions
(200 epochs, crop and flip): 45.1 as balanced softmax and 43.9 as logit adjustment, as OpenLT cites
them, 46.5 and 45.3 as it ran them again; 44.02 in Chumsy0725/logit-adj-pytorch.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/balanced_softmax.py

Another tau: --cfg-options model.head.joint.tau=1.5
"""

_base_ = '../_base_/rivals_r32.py'

model = dict(head=dict(joint=dict(type='LogitAdjustedCE', tau=1.0)))
