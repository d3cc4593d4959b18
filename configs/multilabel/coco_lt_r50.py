"""BCE3S in two stages, 30 + 10 epochs: COCO-LT, ResNet-50 pretrained on ImageNet.

As voc_lt_r50.py; 80 classes, trained on a part of train2017, tested on the 5,000 images of val2017
(COCO-MLT in Wu et al., ECCV 2020). ``python tools/prepare_data.py coco_lt`` says what the lists
hold and where the images come from and go to, below ``data/coco_lt``.

Expected mAP: not published for BCE3S; 53.55 for the Distribution-Balanced loss.
Not measured yet.

    python tools/train.py configs/multilabel/coco_lt_r50.py
"""

_base_ = './voc_lt_r50.py'

_lists = dict(train='COCO_LT_train.csv', test='COCO_LT_test.csv')
train_dataloader = dict(dataset=dict(data_root='data/coco_lt', manifest='coco_lt', lists=_lists))
model = dict(head=dict(num_classes=80))
