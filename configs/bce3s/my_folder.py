"""BCE3S in two stages on your own images: folders of classes, lists, or a table.

    python tools/train.py configs/bce3s/my_folder.py --cfg-options data_root=PATH --dry-run
    python tools/train.py configs/bce3s/my_folder.py --cfg-options data_root=PATH

PATH: ``PATH/CLASS/IMAGE.jpg``; or ``PATH/train/CLASS/IMAGE.jpg`` and ``val``, ``test``; or
``PATH/train.csv`` (``.tsv``, ``.txt``) and ``val.csv``, ``test.csv``; or a table with the columns
``path``, ``label`` and perhaps ``split``.

Classes, counts and splits are found; where there is no validation split one is held out of the
training images; size, network, batch, epochs and rates are chosen from the number of images and
classes and from the images' size (``bce3s/own_data/settings.py``). What was chosen is printed and
stands in WORK_DIR: ``data/`` has the splits, ``my_folder.py`` the whole config. ``own_data`` below
fixes what the rest follows from; anything else is an option as ever and has the last word:

    --cfg-options data_root=PATH own_data.epochs=20 own_data.network=resnet50
    --cfg-options data_root=PATH optim_wrapper.optimizer.lr=0.01

Images that cannot be read are named and left out. The same data with plain cross-entropy:
configs/baselines/my_folder_ce.py.
"""

_base_ = [
    '../_base_/datasets/own_images.py',
    '../_base_/models/bce3s_r32.py',
    '../_base_/schedules/sgd_own_two_stage.py',
]

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
    parents=None,  # 'folders': images lie in PARENT/CLASS/IMAGE
    size=None,  # H = W; None, here and below: chosen
    network=None,  # cifar_resnet20, cifar_resnet32, resnet18_cifar, resnet18, resnet34, resnet50
    batch_size=None,  # of all processes together
    epochs=None,  # of the first stage; the second has a tenth, or as many as make 200 steps
    pretrained=None,  # a file of weights for the backbone, such as torchvision's of a ResNet
)

train_dataloader = dict(batch_sampler=dict(type='PairedBatchSampler'))
default_hooks = dict(logger=dict(interval=10), report=dict(compare_scores=True))
