"""Places-LT: 62,500 training images (4,980 down to 5 a class), 36,500 test images.

365 classes. Liu et al., "Large-Scale Long-Tailed Recognition in an Open World", arXiv 1904.05160.
``python tools/prepare_data.py places_lt`` fetches the lists and says where the images come from and
go to, below ``data/places_lt``; another folder: ``train_dataloader.dataset.data_root``. The test
split is looked at, but nothing is chosen by it; ``val_dataloader.dataset.split=val`` has the 7,300
validation images.
"""

_base_ = './image_files.py'

_lists = dict(
    train='Places_LT_train.txt',
    val='Places_LT_val.txt',
    test='Places_LT_test.txt',
)
train_dataloader = dict(
    dataset=dict(
        split='train',
        type='ImageList',
        data_root='data/places_lt',
        manifest='places_lt',
        lists=_lists,
    )
)
val_dataloader = dict(dataset=dict(type='ImageList', split='test'))
