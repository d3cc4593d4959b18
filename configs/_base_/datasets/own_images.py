"""Loaders of somebody's own images; what is empty here is filled in, see `bce3s/own_data`.

``python tools/train.py configs/bce3s/my_folder.py --cfg-options data_root=PATH``
"""

_base_ = './image_files.py'

data_root = None  # needed: the folder or the list
own_data = dict(
    val_fraction=0.2,  # of each class, held out where there is no validation split
    val_most=50,  # images of a class that are held out
    check='headers',  # how closely files are looked at before: 'files', 'headers', 'pixels'
    columns=None,  # ('PATH COLUMN', 'LABEL COLUMN') of a table that calls them otherwise
    ground=(255, 255, 255),  # R, G, B behind transparent parts
    images=None,  # the folder that paths of a list are relative to; None: looked for
    suffix=None,  # '.jpg', where a list's paths lack the ending; None: looked for
    leave_out=None,  # 'val', 'test', or both: splits that are there and not to be used
    multilabel=None,  # True: images may have several labels, False: one; None: as their table is
    separator=None,  # of labels in a cell: 'semicolon', 'pipe', 'comma', 'space'; None: looked for
    parents=None,  # 'folders': images lie in PARENT/CLASS/IMAGE
    size=None,  # H = W; None, here and below: chosen
    batch_size=None,  # of all processes together
    epochs=None,  # of the first stage
)

train_dataloader = dict(dataset=dict(split='train', type='OwnImages', data_root='', lists=''))
val_dataloader = dict(dataset=dict(type='OwnImages', split='val'))
