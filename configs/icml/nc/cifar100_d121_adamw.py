"""Neural collapse on CIFAR-100: DenseNet-121, AdamW, BCE; no augmentation, decays in the loss.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), setting 2 of Table 5.
Published, Table 8 (epoch 100; A/A_Uni training, A/A_Uni test, mean bias):
CE 99.80/99.78, 50.31/37.87, 0.0016; BCE 99.98/99.97, 52.41/49.81, 1.1306.
Not measured yet.

    python tools/train.py configs/icml/nc/cifar100_d121_adamw.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = [
    '../../_base_/datasets/cifar100.py',
    '../../_base_/models/linear_d121.py',
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
