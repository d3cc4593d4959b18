"""BCE3S in two stages, 180 + 10 epochs: ImageNet-LT, ResNeXt-50.

All else, and the commands for several GPUs and machines, as in imagenet_lt_x50.py.

Expected All: not published.
Not measured yet.

    python tools/train.py configs/bce3s/imagenet_lt_x50_180e.py
"""

_base_ = './imagenet_lt_x50.py'

train_cfg = dict(max_epochs=190)
