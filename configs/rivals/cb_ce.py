"""CB-CE: class-balanced CE, weights by the effective number of samples, from the start.

CVPR 2019, arXiv 1901.05555, beta = 0.9999. No figure of this recipe was found in a source that
could be read.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/cb_ce.py
"""

_base_ = '../_base_/rivals_r32.py'

model = dict(head=dict(reweight=dict(type='EffectiveNumberWeights', beta=0.9999)))
