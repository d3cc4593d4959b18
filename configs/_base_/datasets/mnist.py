"""MNIST, whole: 60,000 training images (6,742 down to 5,421 a class), 10,000 test images.

10 classes, 1 x 28 x 28; batch size 128. Found in ``data/`` or downloaded there on first use
(12 MB); ``dataset.data_root`` names another folder, ``dataset.verify=False`` accepts files whose
checksum is not the published one. The test data set takes what shapes the training
set (``imbalance``, ``n_max``, ``keep_classes``) from it.
"""

_base_ = './in_memory_lt.py'

train_dataloader = dict(
    batch_size=128,
    dataset=dict(type='MNISTLT', split='train', imbalance='none'),
)
val_dataloader = dict(dataset=dict(type='MNISTLT', split='test'))
