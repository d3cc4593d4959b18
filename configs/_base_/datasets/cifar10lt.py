"""CIFAR-10-LT, imbalance factor 100: 12,406 training images (5,000 down to 50), 10,000 test images.

10 classes, 3 x 32 x 32. https://www.cs.toronto.edu/~kriz/cifar.html
Found in ``data/`` or downloaded there on first use (162 MB); ``dataset.data_root`` names another
folder, ``dataset.verify=False`` accepts files whose checksum is not the published one. The test
data set takes what shapes the training set from it.
"""

_base_ = './in_memory_lt.py'

train_dataloader = dict(dataset=dict(type='CIFAR10LT', split='train', imbalance_factor=100))
val_dataloader = dict(dataset=dict(type='CIFAR10LT', split='test'))
