"""Cosine CE: a cosine classifier of scale 30, what LDAM is without its margin.

No figure of this recipe was found in a source that could be read.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/cosine.py
"""

_base_ = '../_base_/rivals_r32.py'

model = dict(
    head=dict(
        classifier=dict(normalize_weight=True, normalize_feature=True, bias=False, scale=30.0),
    ),
)
