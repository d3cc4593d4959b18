"""BCE3S on 16 x 16 grey pictures with several labels, with a small ResNet-8: for two cores."""

model = dict(
    type='LongTailedClassifier',
    data_preprocessor=dict(
        type='LongTailedPreprocessor',
        mean=(0.124,),
        std=(0.281,),
        augment=[dict(type='BatchPadCrop', padding=1)],
        mix=[dict(type='PairedMixUp'), dict(type='PairedCutMix')],
    ),
    backbone=dict(type='CIFARResNet', depth=8, in_channels=1, stem_stride=2),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='TripartiteHead',
        num_classes=10,
        in_channels=64,
        classifier=dict(type='LinearClassifier'),
        joint=dict(type='BCEJoint'),
        contrastive=dict(type='BCEContrastive', tau=1.0),
        uniformity=dict(type='BCEUniformity'),
        weights=dict(joint=1.0, contrastive=0.1, uniformity=1.0),
        beta=0.999,
    ),
)
