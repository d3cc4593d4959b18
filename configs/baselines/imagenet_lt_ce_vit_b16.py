"""Plain softmax cross-entropy, 100 epochs: ImageNet-LT, ViT-B/16.

One view (no mixing), natural sampling, a linear classifier. Data, augmentation, schedule of the
first stage and the commands for several GPUs: configs/bce3s/imagenet_lt_vit_b16.py.
Expected: no published figure for this recipe. Not measured yet.

    python tools/train.py configs/baselines/imagenet_lt_ce_vit_b16.py
"""

_base_ = [
    '../_base_/datasets/imagenet_lt.py',
    '../_base_/models/plain_vit_b16.py',
    '../_base_/schedules/adamw_100e.py',
]

model = dict(head=dict(num_classes=1000))
