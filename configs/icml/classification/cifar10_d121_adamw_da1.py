"""CIFAR-10, DenseNet-121, AdamW, DA1, BCE.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), setting 4 of Table 5:
random crops and flips; one decay on all parameters.
Published, test set, best epoch on it: Table 1, A/A_Uni: CE 90.4/83.6, BCE 90.6/89.9;
Table 2, E_com/E_dis: CE 74.6/30.7, BCE 83.0/33.7.
Not measured yet.

    python tools/train.py configs/icml/classification/cifar10_d121_adamw_da1.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = [
    '../../_base_/datasets/cifar10.py',
    '../../_base_/models/linear_d121.py',
    '../../_base_/schedules/adamw_100e_cosine.py',
    '../../_base_/measured_runtime.py',
]

model = dict(
    data_preprocessor=dict(
        augment=[dict(type='BatchPadCrop', padding=4), dict(type='BatchFlip')],
    ),
)
