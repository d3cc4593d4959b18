"""CIFAR-100, DenseNet-121, AdamW, DA1, BCE.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), setting 4 of Table 5:
random crops and flips; one decay on all parameters.
Published, test set, best epoch on it: Table 1, A/A_Uni: CE 63.7/38.8, BCE 63.6/57.3;
Table 2, E_com/E_dis: CE 64.7/29.8, BCE 70.9/30.1.
Not measured yet.

    python tools/train.py configs/icml/classification/cifar100_d121_adamw_da1.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = [
    '../../_base_/datasets/cifar100.py',
    '../../_base_/models/linear_d121.py',
    '../../_base_/schedules/adamw_100e_cosine.py',
    '../../_base_/measured_runtime.py',
]

model = dict(
    data_preprocessor=dict(
        augment=[dict(type='BatchPadCrop', padding=4), dict(type='BatchFlip')],
    ),
    head=dict(num_classes=100),
)
