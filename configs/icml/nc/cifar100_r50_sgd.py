"""Neural collapse on CIFAR-100: ResNet-50, SGD, BCE; no augmentation, decays in the loss.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), setting 1 of Table 5.
Published, Table 8 (epoch 100; A/A_Uni training, A/A_Uni test, mean bias):
CE 2.52/0.05, 2.48/0.06, 0.0006; BCE 7.67/0.44, 7.16/0.39, 0.3210.
Not measured yet.

    python tools/train.py configs/icml/nc/cifar100_r50_sgd.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = [
    '../../_base_/datasets/cifar100.py',
    '../../_base_/models/linear_r50.py',
    '../../_base_/schedules/sgd_100e_step.py',
    '../../_base_/measured_runtime.py',
]

model = dict(
    head=dict(
        num_classes=100,
        decay=dict(weight=5e-4, feature=5e-4, bias=5e-4),
    ),
)
optim_wrapper = dict(optimizer=dict(weight_decay=0.0))
