"""iNaturalist 2018: 437,513 training images, long-tailed by nature, 24,426 validation images.

8,142 classes; the validation images, 3 a class, are the test set, as usual.
``python tools/prepare_data.py inaturalist2018`` makes the lists of the published annotations and
says where the images come from and go to, below ``data/inaturalist2018``; another folder:
``train_dataloader.dataset.data_root``.
"""

_base_ = './image_files.py'

_lists = dict(
    train='iNaturalist18_train.txt',
    val='iNaturalist18_val.txt',
)
train_dataloader = dict(
    dataset=dict(
        split='train',
        type='ImageList',
        data_root='data/inaturalist2018',
        manifest='inaturalist2018',
        lists=_lists,
    )
)
val_dataloader = dict(dataset=dict(type='ImageList', split='val'))
