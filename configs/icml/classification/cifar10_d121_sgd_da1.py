"""CIFAR-10, DenseNet-121, SGD, DA1, BCE.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), setting 3 of Table 5:
random crops and flips; one decay on all parameters.
Published, test set, best epoch on it: Table 1, A/A_Uni: CE 87.9/78.8, BCE 88.7/87.6;
Table 2, E_com/E_dis: CE 78.7/31.2, BCE 84.6/33.2.
Not measured yet.

    python tools/train.py configs/icml/classification/cifar10_d121_sgd_da1.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = [
    '../../_base_/datasets/cifar10.py',
    '../../_base_/models/linear_d121.py',
    '../../_base_/schedules/sgd_100e_step.py',
    '../../_base_/measured_runtime.py',
]

model = dict(
    data_preprocessor=dict(
        augment=[dict(type='BatchPadCrop', padding=4), dict(type='BatchFlip')],
    ),
)
