"""CIFAR-10, ResNet-18, SGD, DA1, BCE.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), setting 3 of Table 5:
random crops and flips; one decay on all parameters.
Published, test set, best epoch on it: Table 1, A/A_Uni: CE 92.8/85.2, BCE 93.2/91.9;
Table 2, E_com/E_dis: CE 85.4/25.5, BCE 90.6/30.5.
Not measured yet.

    python tools/train.py configs/icml/classification/cifar10_r18_sgd_da1.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = [
    '../../_base_/datasets/cifar10.py',
    '../../_base_/models/linear_r18.py',
    '../../_base_/schedules/sgd_100e_step.py',
]

model = dict(
    data_preprocessor=dict(
        augment=[dict(type='BatchPadCrop', padding=4), dict(type='BatchFlip')],
    ),
)
default_hooks = dict(measures=dict(type='FeatureMeasuresHook'))
