"""ETF + feature decay: a fixed ETF, CE and a decay of the features, in one stage.

Hasegawa and Sato, "Exploring Weight Balancing", ICLR 2024, arXiv 2305.16573: 0.01 |h|^2 beside CE,
and a multiplicative logit adjustment after training, which is tools/posthoc.py's business. The
paper has a ResNet-34, decay 5e-3 and 320 epochs. Its figure could not be read in a source.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/etf_decay.py
"""

_base_ = '../_base_/rivals_r32_lifted.py'

model = dict(
    neck=dict(norm_cfg=None),
    head=dict(
        classifier=dict(_delete_=True, type='ETFClassifier', normalize_feature=False),
        decay=dict(feature=2 * 0.01 / 128),  # lambda/2, of the sum over a batch of 128
    ),
)
