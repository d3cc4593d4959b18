"""BCE3S on 8 x 8 grey images with ResNet-20: small enough for a laptop in seconds.

The contrastive branch lives here but brings nothing, so that it is off (docs/contrastive.md); on:
``model.head.contrastive="dict(type='BCEContrastive')"``.
"""

model = dict(
    type='LongTailedClassifier',
    data_preprocessor=dict(
        type='LongTailedPreprocessor',
        mean=(0.305,),
        std=(0.376,),
        augment=[dict(type='BatchPadCrop', padding=1)],
        mix=[dict(type='PairedMixUp'), dict(type='PairedCutMix')],
    ),
    backbone=dict(type='CIFARResNet', depth=20, in_channels=1),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='TripartiteHead',
        num_classes=10,
        in_channels=64,
        classifier=dict(type='LinearClassifier'),
        joint=dict(type='BCEJoint', resample=0.8),
        uniformity=dict(type='BCEUniformity'),
        weights=dict(joint=1.0, contrastive=0.1, uniformity=1.0),
        beta=0.999,
    ),
)
