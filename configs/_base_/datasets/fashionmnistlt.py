"""Fashion-MNIST-LT, imbalance factor 100: 14,886 training images (6,000 down to 60), 10,000 test.

10 classes, 1 x 28 x 28. https://github.com/zalandoresearch/fashion-mnist
Found in ``data/`` or downloaded there on first use (31 MB); ``dataset.data_root`` names another
folder, ``dataset.verify=False`` accepts files whose checksum is not the published one. The test
data set takes what shapes the training set from it.
"""

_base_ = './in_memory_lt.py'

train_dataloader = dict(dataset=dict(type='FashionMNISTLT', split='train', imbalance_factor=100))
val_dataloader = dict(dataset=dict(type='FashionMNISTLT', split='test'))
