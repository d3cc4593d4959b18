"""BCE3S in two stages, 180 + 10 epochs: iNaturalist 2018, ViT-B/16.

All else, and the commands for several GPUs and machines, as in inaturalist2018_vit_b16.py.

Expected All: not published.
Not measured yet.

    python tools/train.py configs/bce3s/inaturalist2018_vit_b16_180e.py
"""

_base_ = './inaturalist2018_vit_b16.py'

train_cfg = dict(max_epochs=190)
