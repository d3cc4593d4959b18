"""BCE3S in two stages, 180 + 10 epochs: Places-LT, ViT-B/16.

All else, and the commands for several GPUs and machines, as in places_lt_vit_b16.py.

Expected All: not published.
Not measured yet.

    python tools/train.py configs/bce3s/places_lt_vit_b16_180e.py
"""

_base_ = './places_lt_vit_b16.py'

train_cfg = dict(max_epochs=190)
