"""COCO-LT: training images with several labels, a part of train2017; 5,000 test images.

80 classes. Wu et al., "Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed
Datasets", ECCV 2020 (COCO-MLT there): trained on a part of train2017, tested on val2017.
``python tools/prepare_data.py coco_lt`` says what the lists hold and where the images come from and
go to, below ``data/coco_lt``; another folder: ``train_dataloader.dataset.data_root``. The test
split is looked at, but nothing is chosen by it.
"""

_base_ = './image_files.py'

_lists = dict(train='COCO_LT_train.csv', test='COCO_LT_test.csv')
train_dataloader = dict(
    dataset=dict(
        split='train',
        type='ImageList',
        data_root='data/coco_lt',
        manifest='coco_lt',
        lists=_lists,
        multilabel=True,
    )
)
val_dataloader = dict(dataset=dict(type='ImageList', split='test'))
