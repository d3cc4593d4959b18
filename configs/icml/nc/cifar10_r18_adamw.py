"""Neural collapse on CIFAR-10: ResNet-18, AdamW, BCE; no augmentation, decays in the loss.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), setting 2 of Table 5.
Published, Table 7 (epoch 100; A/A_Uni training, A/A_Uni test, mean bias):
CE 100.00/100.00, 86.66/84.72, -0.0001; BCE 100.00/100.00, 86.58/85.07, 3.2905.
Not measured yet.

    python tools/train.py configs/icml/nc/cifar10_r18_adamw.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = [
    '../../_base_/datasets/cifar10.py',
    '../../_base_/models/linear_r18.py',
    '../../_base_/schedules/adamw_100e_cosine.py',
    '../../_base_/measured_runtime.py',
]

model = dict(
    head=dict(
        decay=dict(weight=5e-4, feature=5e-4, bias=5e-4),
    ),
)
optim_wrapper = dict(optimizer=dict(weight_decay=0.0))
