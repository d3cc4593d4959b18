"""BCE3S in two stages, 180 + 10 epochs: iNaturalist 2018, ResNeXt-50.

All else, and the commands for several GPUs and machines, as in inaturalist2018_x50.py.

Expected All: not published.
Not measured yet.

    python tools/train.py configs/bce3s/inaturalist2018_x50_180e.py
"""

_base_ = './inaturalist2018_x50.py'

train_cfg = dict(max_epochs=190)
