"""BCE3S: joint, contrastive and uniformity branch, all BCE, in one stage.

AAAI 2026, arXiv 2511.14097. The method brings its three views (the image, its MixUp and its CutMix
with a second draw), which are three forward passes a step; all else is the harness's. Published
with ResNet-34, AutoAugment and Cutout: 54.73 in the public log, last epoch.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/bce3s_one_stage.py
"""

_base_ = '../_base_/rivals_r32.py'

train_dataloader = dict(batch_sampler=dict(type='PairedBatchSampler'))
model = dict(
    data_preprocessor=dict(mix=[dict(type='PairedMixUp'), dict(type='PairedCutMix')]),
    head=dict(
        joint=dict(_delete_=True, type='BCEJoint', resample=0.4),
        contrastive=dict(_delete_=True, type='BCEContrastive', tau=1.0),
        uniformity=dict(_delete_=True, type='BCEUniformity'),
        weights=dict(joint=1.0, contrastive=0.1, uniformity=1.0),
        classifier=dict(normalize_weight=True),
    ),
)
