"""CIFAR-100, ResNet-50, SGD, DA1+DA2, BCE.

"BCE vs. CE in Deep Feature Learning" (ICML 2025), setting 5 of Table 5:
random crops and flips, MixUp, CutMix and label smoothing; one decay on all parameters.
Published, test set, best epoch on it: Table 1, A/A_Uni: CE 70.3/55.2, BCE 71.9/62.8;
Table 2, E_com/E_dis: CE 71.0/18.7, BCE 74.0/21.8.
Not measured yet.

    python tools/train.py configs/icml/classification/cifar100_r50_sgd_da2.py

CE: --cfg-options model.head.joint.type=CEJoint
"""

_base_ = './cifar100_r50_sgd_da1.py'

model = dict(
    data_preprocessor=dict(
        label_smoothing=0.1,
        batch_mix=dict(type='MixUpOrCutMix', mixup_alpha=0.8, cutmix_alpha=1.0, prob=0.8),
    ),
)
