"""CIFAR-100, ResNet-50, AdamW, DA1, BCE.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), setting 4 of Table 5:
random crops and flips; one decay on all parameters.
Published, test set, best epoch on it: Table 1, A/A_Uni: CE 75.0/48.8, BCE 75.3/68.8;
Table 2, E_com/E_dis: CE 68.9/25.8, BCE 75.2/27.8.
Not measured yet.

    python tools/train.py configs/icml/classification/cifar100_r50_adamw_da1.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = [
    '../../_base_/datasets/cifar100.py',
    '../../_base_/models/linear_r50.py',
    '../../_base_/schedules/adamw_100e_cosine.py',
    '../../_base_/measured_runtime.py',
]

model = dict(
    data_preprocessor=dict(
        augment=[dict(type='BatchPadCrop', padding=4), dict(type='BatchFlip')],
    ),
    head=dict(num_classes=100),
)
