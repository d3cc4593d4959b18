"""GLMC: CIFAR-100-LT, imbalance factor 100, true ResNet-32.

Du et al., Global and Local Mixture Consistency Cumulative Learning (CVPR 2023, arXiv 2305.08661).
Two augmentations of each image, one for MixUp and one for CutMix, with one partner and one lambda
(CutMix's labels too have the lambda that was drawn, as in the public code); two classifiers, the
second one predicts; p = 1.2 and gamma = 4 as published for this imbalance factor.

Published: 58.0 with GLMC's own recipe, which is not this one: a network of 7.4 M parameters
(``backbone.width=4``, 256 features), its own random subset, batch 64, rate 0.01, decay 5e-3, no
warm-up, the best epoch on the test set. No figure of the true ResNet-32 is published.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/glmc.py

GLMC's network: --cfg-options model.backbone.width=4 model.head.in_channels=256
Its rates: --cfg-options train_dataloader.batch_size=64 optim_wrapper.optimizer.lr=0.01
optim_wrapper.optimizer.weight_decay=5e-3 default_hooks.schedule.warmup_epochs=0
"""

_base_ = '../_base_/rivals_r32.py'

train_dataloader = dict(
    # q = 0: partners in proportion to n_y^0, as published for this imbalance factor
    batch_sampler=dict(type='PairedBatchSampler', partner=dict(type='PowerSampler', q=0)),
)
model = dict(
    data_preprocessor=dict(
        views=dict(
            mixup=dict(mix=dict(type='PairedMixUp')),
            cutmix=dict(mix=dict(type='PairedCutMix', correct_lambda=False)),
        ),
    ),
    head=dict(
        _delete_=True,
        type='GLMCHead',
        num_classes=100,
        in_channels=64,
        joint=dict(type='CEJoint'),
        p=1.2,
        gamma=4.0,
        classifier=dict(type='LinearClassifier', normalize_weight=False),
    ),
)
