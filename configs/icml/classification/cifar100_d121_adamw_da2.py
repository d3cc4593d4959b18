"""CIFAR-100, DenseNet-121, AdamW, DA1+DA2, BCE.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), setting 6 of Table 5:
random crops and flips, MixUp, CutMix and label smoothing; one decay on all parameters.
Published, test set, best epoch on it: Table 1, A/A_Uni: CE 69.0/57.2, BCE 69.4/63.5;
Table 2, E_com/E_dis: CE 70.0/34.0, BCE 72.6/32.6.
Not measured yet.

    python tools/train.py configs/icml/classification/cifar100_d121_adamw_da2.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = './cifar100_d121_adamw_da1.py'

model = dict(
    data_preprocessor=dict(
        label_smoothing=0.1,
        batch_mix=dict(type='MixUpOrCutMix', mixup_alpha=0.8, cutmix_alpha=1.0, prob=0.8),
    ),
)
