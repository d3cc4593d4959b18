"""BCE3S on 224 x 224 images with ResNet-50 (23.5 M parameters, 2,048 features), from scratch.

Published of BCE3S at this size is one figure, ResNeXt-50 on ImageNet-LT; its recipe and its code
for these data sets are not public. Our reading: branches, weights and r as on CIFAR-100-LT, the
recommended defaults; views as in GLMC (arXiv 2305.08661), whose scheme it follows.

Augmentation: random crop and flip (the data set's), then

- colour jitter (.4, .4, .4, hue 0): ImageNet-LT and Places-LT in classifier-balancing (arXiv
  1910.09217); all data sets in PaCo, GLMC and ProCo;
- RandAugment of two operations, as in these three: the nearest setting of :class:`BatchRandAugment`
  to their ``rand-n2-m10-mstd0.5``. The grey images and the blur of their second view are left out.
"""

model = dict(
    type='LongTailedClassifier',
    precision='auto',  # bfloat16 where the device multiplies it faster, else float32
    data_preprocessor=dict(
        type='LongTailedPreprocessor',
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        augment=[
            dict(type='BatchColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
            dict(type='BatchRandAugment', num_ops=2, magnitude=10, num_levels=11, prob=0.5),
        ],
        mix=[dict(type='PairedMixUp'), dict(type='PairedCutMix')],
    ),
    backbone=dict(type='ResNet', depth=50),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='TripartiteHead',
        num_classes=1000,
        in_channels=2048,
        classifier=dict(type='LinearClassifier'),
        joint=dict(type='BCEJoint', resample=0.4),
        contrastive=dict(type='BCEContrastive', tau=1.0),
        uniformity=dict(type='BCEUniformity'),
        weights=dict(joint=1.0, contrastive=0.1, uniformity=1.0),
        beta=0.99999,
    ),
)
