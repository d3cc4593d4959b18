"""CIFAR-100-LT, imbalance factor 100: 10,847 training images (500 down to 5), 10,000 test images.

100 classes, 3 x 32 x 32, Many/Medium/Few: 35/35/30. https://www.cs.toronto.edu/~kriz/cifar.html
Found in ``data/`` or downloaded there on first use (161 MB); ``dataset.data_root`` names another
folder, ``dataset.verify=False`` accepts files whose checksum is not the published one. The test
data set takes what shapes the training set from it.
"""

_base_ = './in_memory_lt.py'

train_dataloader = dict(dataset=dict(type='CIFAR100LT', split='train', imbalance_factor=100))
val_dataloader = dict(dataset=dict(type='CIFAR100LT', split='test'))
