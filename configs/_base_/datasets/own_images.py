"""Loaders of somebody's own images; what is empty here is filled in, see `bce3s/own_data`.

``python tools/train.py configs/bce3s/my_folder.py --cfg-options data_root=PATH``
"""

_base_ = './image_files.py'

_images = dict(type='OwnImages', data_root='', lists='')

train_dataloader = dict(dataset=dict(split='train', **_images))
val_dataloader = dict(dataset=dict(split='val', **_images))
