"""Neural collapse on CIFAR-10: ResNet-18, SGD, BCE; no augmentation, decays in the loss.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), setting 1 of Table 5.
Published, Table 7 (epoch 100; A/A_Uni training, A/A_Uni test, mean bias):
CE 99.99/99.98, 79.22/75.71, -0.0085; BCE 100.00/100.00, 81.19/78.78, 2.2618.
Not measured yet.

    python tools/train.py configs/icml/nc/cifar10_r18_sgd.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = [
    '../../_base_/datasets/cifar10.py',
    '../../_base_/models/linear_r18.py',
    '../../_base_/schedules/sgd_100e_step.py',
]

model = dict(
    head=dict(
        decay=dict(weight=5e-4, feature=5e-4, bias=5e-4),
    ),
)
optim_wrapper = dict(optimizer=dict(weight_decay=0.0))
default_hooks = dict(measures=dict(type='FeatureMeasuresHook'))
