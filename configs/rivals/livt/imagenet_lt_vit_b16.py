"""LiVT: ImageNet-LT, ViT-B/16, 100 epochs from weights of a masked autoencoder.

The recipe and its source: ``configs/_base_/rivals_livt.py``.

Published All: 60.9, from an autoencoder trained on the same images.
Not measured yet.

    python tools/train.py configs/rivals/livt/imagenet_lt_vit_b16.py

Other weights: --cfg-options model.backbone.init_cfg.checkpoint=mae_pretrain_vit_base.pth
"""

_base_ = ['../../_base_/datasets/imagenet_lt.py', '../../_base_/rivals_livt.py']

model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='data/mae_imagenet_lt_vit_b16.pth')),
    head=dict(num_classes=1000),
)
