"""VS: vector scaling, logits times a power of the class size, plus the log prior.

NeurIPS 2021, arXiv 2103.01550. gamma and tau are what public code uses with it on CIFAR-LT; they
could not be compared with the paper, nor could its figure. Its code weighs the classes too in a
variant that is not this one.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/vs.py
"""

_base_ = '../_base_/rivals_r32.py'

model = dict(head=dict(joint=dict(type='LogitAdjustedCE', tau=0.75, gamma=0.05)))
