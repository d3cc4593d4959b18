"""CIFAR-100, ResNet-50, SGD, DA1, BCE.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), setting 3 of Table 5:
random crops and flips; one decay on all parameters.
Published, test set, best epoch on it: Table 1, A/A_Uni: CE 71.6/44.2, BCE 71.8/64.1;
Table 2, E_com/E_dis: CE 70.8/20.0, BCE 73.3/22.0.
Not measured yet.

    python tools/train.py configs/icml/classification/cifar100_r50_sgd_da1.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = [
    '../../_base_/datasets/cifar100.py',
    '../../_base_/models/linear_r50.py',
    '../../_base_/schedules/sgd_100e_step.py',
    '../../_base_/measured_runtime.py',
]

model = dict(
    data_preprocessor=dict(
        augment=[dict(type='BatchPadCrop', padding=4), dict(type='BatchFlip')],
    ),
    head=dict(num_classes=100),
)
