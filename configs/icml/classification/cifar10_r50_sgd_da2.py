"""CIFAR-10, ResNet-50, SGD, DA1+DA2, BCE.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), setting 5 of Table 5:
random crops and flips, MixUp, CutMix and label smoothing; one decay on all parameters.
Published, test set, best epoch on it: Table 1, A/A_Uni: CE 92.7/89.6, BCE 93.2/91.5;
Table 2, E_com/E_dis: CE 85.6/20.3, BCE 86.9/21.6.
Not measured yet.

    python tools/train.py configs/icml/classification/cifar10_r50_sgd_da2.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = './cifar10_r50_sgd_da1.py'

model = dict(
    data_preprocessor=dict(
        label_smoothing=0.1,
        batch_mix=dict(type='MixUpOrCutMix', mixup_alpha=0.8, cutmix_alpha=1.0, prob=0.8),
    ),
)
