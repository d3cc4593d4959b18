"""ImageNet-LT: 115,846 training images (1,280 down to 5 a class), 50,000 test images.

1,000 classes. Liu et al., "Large-Scale Long-Tailed Recognition in an Open World", arXiv 1904.05160.
``python tools/prepare_data.py imagenet_lt`` fetches the lists and says where the images come from
and go to, below ``data/imagenet_lt``; another folder: ``train_dataloader.dataset.data_root``. The
test split is looked at, but nothing is chosen by it; ``val_dataloader.dataset.split=val`` has the
20,000 validation images.
"""

_base_ = './image_files.py'

_lists = dict(
    train='ImageNet_LT_train.txt',
    val='ImageNet_LT_val.txt',
    test='ImageNet_LT_test.txt',
)
train_dataloader = dict(
    dataset=dict(
        split='train',
        type='ImageList',
        data_root='data/imagenet_lt',
        manifest='imagenet_lt',
        lists=_lists,
    )
)
val_dataloader = dict(dataset=dict(type='ImageList', split='test'))
