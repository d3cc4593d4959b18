"""CIFAR-10, ResNet-50, SGD, DA1, BCE.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), setting 3 of Table 5:
random crops and flips; one decay on all parameters.
Published, test set, best epoch on it: Table 1, A/A_Uni: CE 92.7/85.2, BCE 93.4/92.5;
Table 2, E_com/E_dis: CE 83.5/17.8, BCE 89.9/23.2.
Not measured yet.

    python tools/train.py configs/icml/classification/cifar10_r50_sgd_da1.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = [
    '../../_base_/datasets/cifar10.py',
    '../../_base_/models/linear_r50.py',
    '../../_base_/schedules/sgd_100e_step.py',
    '../../_base_/measured_runtime.py',
]

model = dict(
    data_preprocessor=dict(
        augment=[dict(type='BatchPadCrop', padding=4), dict(type='BatchFlip')],
    ),
)
