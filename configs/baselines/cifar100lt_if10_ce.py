"""Plain softmax cross-entropy: CIFAR-100-LT, imbalance factor 10.

Network: ResNet-34. One view (no mixing),
natural sampling, a linear classifier; data, augmentation and schedule as in configs/bce3s.
Expected: no published figure for this recipe. Not measured yet.

    python tools/train.py configs/baselines/cifar100lt_if10_ce.py
"""

_base_ = './cifar100lt_if100_ce.py'

train_dataloader = dict(dataset=dict(imbalance_factor=10))
