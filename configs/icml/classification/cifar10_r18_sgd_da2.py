"""CIFAR-10, ResNet-18, SGD, DA1+DA2, BCE.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), setting 5 of Table 5:
random crops and flips, MixUp, CutMix and label smoothing; one decay on all parameters.
Published, test set, best epoch on it: Table 1, A/A_Uni: CE 92.7/89.1, BCE 93.6/91.9;
Table 2, E_com/E_dis: CE 81.5/20.9, BCE 84.4/23.9.
Not measured yet.

    python tools/train.py configs/icml/classification/cifar10_r18_sgd_da2.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = './cifar10_r18_sgd_da1.py'

model = dict(
    data_preprocessor=dict(
        label_smoothing=0.1,
        batch_mix=dict(type='MixUpOrCutMix', mixup_alpha=0.8, cutmix_alpha=1.0, prob=0.8),
    ),
)
