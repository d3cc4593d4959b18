"""BCE3S in two stages: CIFAR-100-LT, imbalance factor 50.

AAAI 2026, arXiv 2511.14097. Network: the true CIFAR ResNet-32 (0.46 M parameters).
Sound values of every option.

Expected: no published figure for this network.
Not measured yet.

    python tools/train.py configs/bce3s/cifar100lt_if50_r32.py
"""

_base_ = './cifar100lt_if100_r32.py'

train_dataloader = dict(dataset=dict(imbalance_factor=50))
