"""VOC-LT: 1,142 training images with several labels, 4,952 test images.

20 classes. Wu et al., "Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed
Datasets", ECCV 2020 (VOC-MLT there): trained on a part of VOC 2012, tested on VOC 2007.
``python tools/prepare_data.py voc_lt`` says what the lists hold and how they are made, and where
the images come from and go to, below ``data/voc_lt``; another folder:
``train_dataloader.dataset.data_root``. The test split is looked at, but nothing is chosen by it.
"""

_base_ = './image_files.py'

_lists = dict(train='VOC_LT_train.csv', test='VOC_LT_test.csv')
train_dataloader = dict(
    dataset=dict(
        split='train',
        type='ImageList',
        data_root='data/voc_lt',
        manifest='voc_lt',
        lists=_lists,
        multilabel=True,
    )
)
val_dataloader = dict(dataset=dict(type='ImageList', split='test'))
