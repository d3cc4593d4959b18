"""CIFAR-10, whole: 50,000 training images (5,000 a class), 10,000 test images.

10 classes, 3 x 32 x 32; batch size 128. Found in ``data/`` or downloaded there on first use
(162 MB); ``dataset.data_root`` names another folder, ``dataset.verify=False`` accepts files whose
checksum is not the published one. The test data set takes what shapes the training
set (``imbalance``, ``n_max``, ``keep_classes``) from it.
"""

_base_ = './in_memory_lt.py'

train_dataloader = dict(
    batch_size=128,
    dataset=dict(type='CIFAR10LT', split='train', imbalance='none'),
)
val_dataloader = dict(dataset=dict(type='CIFAR10LT', split='test'))
