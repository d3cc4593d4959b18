"""LiVT: iNaturalist 2018, ViT-B/16, 100 epochs from weights of a masked autoencoder.

The recipe and its source: ``configs/_base_/rivals_livt.py``.

Published All: 76.1, from an autoencoder trained on the same images.
Not measured yet.

    python tools/train.py configs/rivals/livt/inaturalist2018_vit_b16.py

Other weights: --cfg-options model.backbone.init_cfg.checkpoint=mae_pretrain_vit_base.pth
"""

_base_ = ['../../_base_/datasets/inaturalist2018.py', '../../_base_/rivals_livt.py']

model = dict(
    data_preprocessor=dict(mean=(0.466, 0.471, 0.380), std=(0.195, 0.194, 0.192)),
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint='data/mae_inaturalist2018_vit_b16.pth')
    ),
    head=dict(num_classes=8142),
)
