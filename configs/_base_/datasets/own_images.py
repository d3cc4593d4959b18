"""Loaders of somebody's own images; what is empty here is filled in, see `bce3s/own_data`.

``python tools/train.py configs/bce3s/my_folder.py --cfg-options data_root=PATH``
"""

_base_ = './image_files.py'

train_dataloader = dict(dataset=dict(split='train', type='OwnImages', data_root='', lists=''))
val_dataloader = dict(dataset=dict(type='OwnImages', split='val'))
