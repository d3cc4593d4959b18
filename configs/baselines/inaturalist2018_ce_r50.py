"""Plain softmax cross-entropy, 90 epochs: iNaturalist 2018, ResNet-50.

One view (no mixing), natural sampling, a linear classifier. Data, augmentation, schedule of the
first stage and the commands for several GPUs: configs/bce3s/inaturalist2018_r50.py.
Expected: no published figure for this recipe. Not measured yet.

    python tools/train.py configs/baselines/inaturalist2018_ce_r50.py

Binary cross-entropy: --cfg-options model.head.joint.type=BCEJoint
ResNeXt-50: --cfg-options model.backbone.type=ResNeXt model.backbone.groups=32
model.backbone.width_per_group=4
"""

_base_ = [
    '../_base_/datasets/inaturalist2018.py',
    '../_base_/models/plain_r50.py',
    '../_base_/schedules/sgd_90e.py',
]

model = dict(
    data_preprocessor=dict(mean=(0.466, 0.471, 0.380), std=(0.195, 0.194, 0.192)),
    head=dict(num_classes=8142),
)
optim_wrapper = dict(optimizer=dict(lr=0.2, weight_decay=1e-4))
