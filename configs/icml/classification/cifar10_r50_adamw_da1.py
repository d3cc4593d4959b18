"""CIFAR-10, ResNet-50, AdamW, DA1, BCE.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), setting 4 of Table 5:
random crops and flips; one decay on all parameters.
Published, test set, best epoch on it: Table 1, A/A_Uni: CE 94.5/87.9, BCE 94.0/93.6;
Table 2, E_com/E_dis: CE 85.5/23.3, BCE 89.1/27.2.
Not measured yet.

    python tools/train.py configs/icml/classification/cifar10_r50_adamw_da1.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = [
    '../../_base_/datasets/cifar10.py',
    '../../_base_/models/linear_r50.py',
    '../../_base_/schedules/adamw_100e_cosine.py',
    '../../_base_/measured_runtime.py',
]

model = dict(
    data_preprocessor=dict(
        augment=[dict(type='BatchPadCrop', padding=4), dict(type='BatchFlip')],
    ),
)
