"""BCE3S in two stages: CIFAR-10-LT, imbalance factor 50.

AAAI 2026, arXiv 2511.14097. Network: ResNet-34 (the "ResNet-32" of the paper and its code).
Recipe and quirks of the public implementation.

Expected All: not published.
Not measured yet.

    python tools/train.py configs/bce3s/cifar10lt_if50.py
"""

_base_ = './cifar10lt_if100.py'

train_dataloader = dict(dataset=dict(imbalance_factor=50))
