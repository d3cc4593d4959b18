"""The harness of the rivals with three views of each image: its own, and two of SimCLR.

SimCLR's as ProCo has them on CIFAR, without blur: random resized crop (8 to 100 % of the area),
flip, colour jitter (0.4, 0.4, 0.4, 0.1) with probability 0.8, grey with 0.2.
"""

_base_ = './rivals_r32.py'

_simclr = dict(
    augment=[
        dict(type='BatchResizedCrop'),
        dict(type='BatchFlip'),
        dict(
            type='BatchColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, prob=0.8
        ),
        dict(type='BatchGrayscale', prob=0.2),
    ],
)
model = dict(data_preprocessor=dict(views=dict(origin=dict(), first=_simclr, second=_simclr)))
