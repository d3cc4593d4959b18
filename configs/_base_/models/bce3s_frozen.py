"""BCE3S on the features of a pretrained network that stays as it is.

The features are centred on the training images' mean and brought to one length, see
``CentredFeatures``. There is no contrastive branch: on fixed features it would train its own
projector and nothing else. MixUp mixes features; CutMix has no meaning there.
"""

model = dict(
    type='LongTailedClassifier',
    precision='auto',
    data_preprocessor=dict(
        type='LongTailedPreprocessor',
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        mix=[dict(type='PairedMixUp')],
    ),
    backbone=dict(type='TimmBackbone', name='tf_efficientnet_lite0.in1k', weights='pretrained'),
    neck=dict(type='CentredFeatures', in_channels=1280),
    head=dict(
        type='TripartiteHead',
        num_classes=1000,
        in_channels=1280,
        joint=dict(type='BCEJoint'),
        uniformity=dict(type='BCEUniformity'),
        beta=0.9999,
    ),
)
custom_hooks = [dict(type='FrozenFeaturesHook')]
