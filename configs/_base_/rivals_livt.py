"""LiVT's fine-tuning of ViT-B/16: 100 epochs from weights of a masked autoencoder.

Xu et al., Learning Imbalanced Data with Vision Transformers (CVPR 2023, arXiv 2212.02015): AdamW,
rate 1e-3 for a batch of 256 and 0.65 times that of the layer above in each layer, decay 0.05, 5
epochs of warm-up, stochastic depth 0.1, labels smoothed by 0.1, balanced BCE, a linear classifier
with free weights. Its random erasing is left out.

The autoencoder is trained on the same images for 800 epochs, which is not part of this framework:
``model.backbone.init_cfg.checkpoint`` is its file, LiVT's, or MAE's own of the whole of ImageNet.
"""

_base_ = ['./models/bce3s_vit_b16.py', './schedules/adamw_100e.py']

model = dict(
    data_preprocessor=dict(
        augment=[dict(type='BatchRandAugment', num_ops=2, magnitude=9, num_levels=11, prob=0.5)],
        mix=[],
        label_smoothing=0.1,
    ),
    backbone=dict(type='MAEVisionTransformer'),
    head=dict(
        joint=dict(_delete_=True, type='BalancedBCE'),
        contrastive=None,
        uniformity=None,
        classifier=dict(normalize_weight=False),
    ),
)
optim_wrapper = dict(
    constructor='LearningRateDecayOptimWrapperConstructor',
    optimizer=dict(lr=1e-3),
    paramwise_cfg=dict(layer_decay_rate=0.65, flat_decay_mult=0.0),
)
