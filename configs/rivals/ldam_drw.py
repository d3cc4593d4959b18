"""LDAM-DRW: margins, and weights from 80 % of the run on (deferred re-weighting).

NeurIPS 2019, arXiv 1906.07413. Published (200 epochs, crop and flip, steps at 160 and 180, decay
2e-4, best epoch on test): 42.0; 42.9 as OpenLT ran it again. Here a cosine and decay 5e-4, as all.
The weights have mean 1 over the training set, where the code divides by their sum in each batch.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/ldam_drw.py

LDAM alone: --cfg-options model.head.reweight=None
CE with DRW: ce.py with the reweight of this file.
"""

_base_ = '../_base_/rivals_r32.py'

model = dict(
    head=dict(
        joint=dict(type='LDAM', max_margin=0.5, scale=30.0),
        classifier=dict(normalize_weight=True, normalize_feature=True, bias=False, scale=30.0),
        reweight=dict(type='EffectiveNumberWeights', beta=0.9999, start=0.8, mean_over='samples'),
    ),
)
