"""Settings that suit the size of a data set: a pure function of a few facts.

The rules are of thumb, and every one of them is printed with what it decided. They start from the
configs of the benchmarks (``configs/_base_/models/bce3s_r32.py``, ``bce3s_r50.py``) and from two
wishes: a laptop without a GPU is done within the hour, and a frequent class is not trained on so
long that it is learned by heart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bce3s.errors import BCE3SError

# name -> (backbone, features)
NETWORKS: dict[str, tuple[dict[str, Any], int]] = {
    'cifar_resnet20': (dict(type='CIFARResNet', depth=20), 64),
    'cifar_resnet32': (dict(type='CIFARResNet', depth=32), 64),
    'resnet18_cifar': (dict(type='ResNet_CIFAR', depth=18), 512),  # 3 x 3 stem
    'resnet18': (dict(type='ResNet', depth=18), 512),
    'resnet34': (dict(type='ResNet', depth=34), 512),
    'resnet50': (dict(type='ResNet', depth=50), 2048),
}
SEEN = {'cpu': 96_000, 'cuda': 960_000}  # images of the first stage, each epoch's counted, about
EPOCHS = {'cpu': (10, 200), 'cuda': (30, 200)}  # least and most of the first stage
CHOICES = ('size', 'network', 'batch_size', 'epochs')  # that own_data may fix


@dataclass(frozen=True)
class Facts:
    """What the settings follow from.

    Attributes:
        images: in training.
        most: training images of the most frequent class.
        classes: K.
        side: median of the images' shorter sides, in pixels.
        device: ``'cpu'`` or ``'cuda'``.
    """

    images: int
    most: int
    classes: int
    side: int
    device: str


@dataclass(frozen=True)
class Settings:
    """What was chosen.

    Attributes:
        size: H = W of what the network sees.
        resize: of the shorter side in the test.
        random_crop: whether training images are cropped at random by the loader.
        network: a key of ``NETWORKS``.
        batch_size: of all processes together.
        epochs, finetune_epochs: of the first stage and the second.
        lr, finetune_lr: their learning rates.
        resample: r, the share of the classes that a batch is compared with.
        beta: of the class-balanced weights of the second stage.
        augment: of the preprocessor.
    """

    size: int
    resize: int
    random_crop: bool
    network: str
    batch_size: int
    epochs: int
    finetune_epochs: int
    lr: float
    finetune_lr: float
    resample: float
    beta: float
    augment: list[dict[str, Any]]


def choose(facts: Facts, fixed: dict[str, Any] | None = None, pretrained: bool = False) -> Settings:
    """The settings for ``facts``.

    Args:
        facts: see :class:`Facts`.
        fixed: any of ``size``, ``network``, ``batch_size``, ``epochs`` (of the first stage), which
            the others then follow; None: chosen.
        pretrained: whether the network begins with pretrained weights: larger images, a tenth of
            the rate.

    Raises:
        BCE3SError: an unknown network, or a number below 1.
    """
    fixed = {key: value for key, value in (fixed or {}).items() if value is not None}
    _check(fixed)
    size = fixed.get('size') or image_size(facts, pretrained)
    network = fixed.get('network') or network_for(facts, size, pretrained)
    batch = fixed.get('batch_size') or batch_size(facts)
    epochs = fixed.get('epochs') or epochs_for(facts)
    small = size <= 64
    base = 0.05 / 64 if network.startswith('cifar') else 0.1 / 256
    lr = _rounded(base * batch * (0.1 if pretrained else 1))
    second = second_epochs(epochs, math.ceil(facts.images / batch))
    return Settings(
        size=size,
        resize=size if small else round(size * 8 / 7),
        random_crop=not small,
        network=network,
        batch_size=batch,
        epochs=epochs,
        finetune_epochs=second,
        lr=lr,
        finetune_lr=second_rate(lr, second * math.ceil(facts.images / batch)),
        resample=share_of_classes(facts.classes),
        beta=balance(facts.most),
        augment=augmentation(size),
    )


def _check(fixed: dict[str, Any]) -> None:
    for key, value in fixed.items():
        if key == 'network':
            if value not in NETWORKS:
                raise BCE3SError(
                    f'own_data.network={value!r}: use one of {", ".join(NETWORKS)}, or change '
                    'model.backbone and model.head.in_channels.'
                )
        elif type(value) is not int or value < 1:
            raise BCE3SError(f'own_data.{key}={value!r}: a whole number from 1 is needed.')


# ------------------------------------------------------------------------------------------ rules
def image_size(facts: Facts, pretrained: bool = False) -> int:
    """32 up to 40 pixels, 64 up to 100, else 224; without a GPU 96 instead, pretrained 128."""
    if not pretrained:
        if facts.side <= 40:
            return 32
        if facts.side <= 100:
            return 64
    if facts.device == 'cuda':
        return 224
    return 128 if pretrained else 96


def network_for(facts: Facts, size: int, pretrained: bool = False) -> str:
    """The true CIFAR ResNet-32 for 32 pixels; ResNet-18 above, ResNet-50 from 20,000 images of more
    than 100 pixels on where there is a GPU.
    """
    if size <= 40 and not pretrained:
        return 'cifar_resnet32'
    if facts.device == 'cpu':
        return 'resnet18'
    if size <= 100 and not pretrained:
        return 'resnet18_cifar'
    return 'resnet50' if facts.images > 20_000 else 'resnet18'


def batch_size(facts: Facts) -> int:
    """64; 32 for less than 5,000 images; with a GPU 128 from 20,000 and 256 from 100,000 on.

    Measured once (docs/your_data.md): of 1,933 images 32 gave All 49, 64 gave 42, as many images
    being seen.
    """
    if facts.images < 5000:
        return 32
    if facts.device == 'cuda' and facts.images >= 20_000:
        return 256 if facts.images >= 100_000 else 128
    return 64


def epochs_for(facts: Facts) -> int:
    """As many as show ``SEEN`` images, within ``EPOCHS``."""
    least, most = EPOCHS[facts.device]
    return min(most, max(least, round(SEEN[facts.device] / facts.images)))


def second_epochs(epochs: int, steps: int) -> int:
    """A tenth of the first stage's, but 200 steps of ``steps`` an epoch if that is no more than the
    first stage has; 2 at least. They cost little: the classifier alone, on one view.
    """
    return max(2, round(0.1 * epochs), min(epochs, math.ceil(200 / steps)))


def second_rate(lr: float, steps: int) -> float:
    """The rate of the second stage: 2 over its steps, a fifth of the first stage's at most.

    Rate times steps is 1.3 in configs/bce3s/digits.py and 0.85 in cifar100lt_if100_r32.py.
    """
    return _rounded(min(lr / 5, 2 / steps))


def share_of_classes(classes: int) -> float:
    """r: 0.8 of 10 classes and 0.4 of 100 as published of such data, log-linear between and beyond,
    within 0.4 and 1.

    >>> [share_of_classes(k) for k in (2, 10, 20, 100, 1000)]
    [1.0, 0.8, 0.68, 0.4, 0.4]
    """
    return round(min(1.0, max(0.4, 0.8 - 0.4 * math.log10(classes / 10))), 2)


def balance(most: int) -> float:
    """beta = 1 - 5 / n for the largest class count n, within 0.9 and 0.9999: classes of more than
    n / 5 images weigh nearly alike, of fewer than that inversely to their number.

    Weights close to ``1 / n_k`` throughout, as on CIFAR-LT, want features that tell the rare
    classes apart, which short training on few images does not give.

    >>> [balance(n) for n in (10, 100, 500, 1_000_000)]
    [0.9, 0.95, 0.99, 0.9999]
    """
    return round(min(0.9999, max(0.9, 1 - 5 / max(most, 1))), 4)


def augmentation(size: int) -> list[dict[str, Any]]:
    """Of small images shifts, flips, and what CIFAR has; of others, which the loader has cropped
    and flipped, colours and RandAugment.
    """
    if size <= 64:
        return [
            dict(type='BatchPadCrop', padding=size // 8),
            dict(type='BatchFlip'),
            dict(type='BatchAutoAugment', policy='cifar10'),
            dict(type='BatchCutout', size=size // 2),
        ]
    return [
        dict(type='BatchColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
        dict(type='BatchRandAugment', num_ops=2, magnitude=10, num_levels=11, prob=0.5),
    ]


def _rounded(value: float) -> float:
    return float(f'{value:.3g}')
