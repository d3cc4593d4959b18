"""Neural collapse on CIFAR-100: DenseNet-121, SGD, BCE; no augmentation, decays in the loss.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), setting 1 of Table 5.
Published, Table 8 (epoch 100; A/A_Uni training, A/A_Uni test, mean bias):
CE 99.15/94.38, 37.48/24.20, -0.0012; BCE 99.38/99.23, 39.93/35.19, 0.8313.
Not measured yet.

    python tools/train.py configs/icml/nc/cifar100_d121_sgd.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = [
    '../../_base_/datasets/cifar100.py',
    '../../_base_/models/linear_d121.py',
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
