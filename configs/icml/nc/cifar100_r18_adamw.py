"""Neural collapse on CIFAR-100: ResNet-18, AdamW, BCE; no augmentation, decays in the loss.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), setting 2 of Table 5.
Published, Table 8 (epoch 100; A/A_Uni training, A/A_Uni test, mean bias):
CE 99.98/99.96, 56.58/47.29, 0.0005; BCE 99.98/99.97, 60.48/43.04, 1.1317.
Not measured yet.

    python tools/train.py configs/icml/nc/cifar100_r18_adamw.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = [
    '../../_base_/datasets/cifar100.py',
    '../../_base_/models/linear_r18.py',
    '../../_base_/schedules/adamw_100e_cosine.py',
    '../../_base_/measured_runtime.py',
]

model = dict(
    head=dict(
        num_classes=100,
        decay=dict(weight=5e-4, feature=5e-4, bias=5e-4),
    ),
)
optim_wrapper = dict(optimizer=dict(weight_decay=0.0))
