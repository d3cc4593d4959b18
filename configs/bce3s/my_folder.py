"""BCE3S in two stages on your own images: folders of classes, lists, or a table.

    python tools/train.py configs/bce3s/my_folder.py --cfg-options data_root=PATH --dry-run
    python tools/train.py configs/bce3s/my_folder.py --cfg-options data_root=PATH

PATH: ``PATH/CLASS/IMAGE.jpg``; or ``PATH/train/CLASS/IMAGE.jpg`` and ``val``, ``test``; or
``PATH/train.csv`` (``.tsv``, ``.txt``) and ``val.csv``, ``test.csv``; or a table with the columns
``path``, ``label`` and perhaps ``split``, or with a column for each class, where a picture may have
several labels (docs/multi_label.md).

Classes, counts and splits are found; where there is no validation split one is held out of the
training images; size, network, batch, epochs and rates are chosen from the number of images and
classes and from the images' size (``bce3s/own_data/settings.py``). What was chosen is printed and
stands in WORK_DIR: ``data/`` has the splits, ``my_folder.py`` the whole config. ``own_data``
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

own_data = dict(  # and what configs/_base_/datasets/own_images.py has
    network=None,  # cifar_resnet20, cifar_resnet32, resnet18_cifar, resnet18, resnet34, resnet50
    epochs=None,  # of the first stage; the second has a tenth, or as many as make 200 steps
    pretrained=None,  # a file of weights for the backbone, such as torchvision's of a ResNet
)

train_dataloader = dict(batch_sampler=dict(type='PairedBatchSampler'))
default_hooks = dict(logger=dict(interval=10), report=dict(compare_scores=True))
