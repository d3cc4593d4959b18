"""Plain softmax cross-entropy, 90 epochs: ImageNet-LT, ResNet-50.

One view (no mixing), natural sampling, a linear classifier. Data, augmentation, schedule of the
first stage and the commands for several GPUs: configs/bce3s/imagenet_lt_r50.py.
Expected: no published figure for this recipe. Not measured yet.

    python tools/train.py configs/baselines/imagenet_lt_ce_r50.py

Binary cross-entropy: --cfg-options model.head.joint.type=BCEJoint
ResNeXt-50: --cfg-options model.backbone.type=ResNeXt model.backbone.groups=32
model.backbone.width_per_group=4
"""

_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/plain_r50.py',
    '../_base_/schedules/sgd_90e.py',
]

model = dict(head=dict(num_classes=1000))
