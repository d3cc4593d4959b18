"""ETF + feature decay: a fixed ETF, CE and a decay of the features, in one stage.

Hasegawa and Sato, "Exploring Weight Balancing", ICLR 2024, arXiv 2305.16573: 0.01 |h|^2 beside CE,
and a multiplicative logit adjustment after training, which is tools/posthoc.py's business. The
paper has a ResNet-34, decay 5e-3 and 320 epochs. Its figure could not be read in a source.
Not measured yet.

    python tools/train.py configs/rivals/etf_decay.py
"""

_base_ = '../_base_/rivals_r32.py'

model = dict(
    # the true ResNet-32 has 64 features, a simplex of 100 classes needs 99: lifted to 128
    neck=dict(
        _delete_=True,
        type='LinearNeck',
        in_channels=64,
        out_channels=128,
        gap_dim=2,
        norm_cfg=None,
    ),
    head=dict(
        in_channels=128,
        classifier=dict(_delete_=True, type='ETFClassifier', normalize_feature=False),
        decay=dict(feature=2 * 0.01 / 128),  # lambda/2, of the sum over a batch of 128
    ),
)
