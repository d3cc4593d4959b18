"""ETF + DR: a fixed simplex ETF as the classifier, and dot regression.

NeurIPS 2022, arXiv 2203.09081, "Inducing Neural Collapse in Imbalanced Learning". The paper has a
ResNet-32 of widths 32-64-128, whose 128 features hold the ETF without a lift, MixUp (alpha 1),
decay 2e-4 and steps. Its figure could not be read in a source.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/etf_dr.py
"""

_base_ = '../_base_/rivals_r32_lifted.py'

model = dict(
    head=dict(
        joint=dict(type='DotRegression'),
        classifier=dict(_delete_=True, type='ETFClassifier'),
        reweight=dict(type='BatchBalancedWeights'),
    ),
)
