"""CIFAR-10, ResNet-18, AdamW, DA1, BCE.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), setting 4 of Table 5:
random crops and flips; one decay on all parameters.
Published, test set, best epoch on it: Table 1, A/A_Uni: CE 93.4/89.0, BCE 93.9/93.4;
Table 2, E_com/E_dis: CE 85.5/26.9, BCE 91.4/32.5.
Not measured yet.

    python tools/train.py configs/icml/classification/cifar10_r18_adamw_da1.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = [
    '../../_base_/datasets/cifar10.py',
    '../../_base_/models/linear_r18.py',
    '../../_base_/schedules/adamw_100e_cosine.py',
    '../../_base_/measured_runtime.py',
]

model = dict(
    data_preprocessor=dict(
        augment=[dict(type='BatchPadCrop', padding=4), dict(type='BatchFlip')],
    ),
)
