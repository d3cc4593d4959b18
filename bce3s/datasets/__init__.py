"""Who is rare: data sets, their counts, and what is drawn from them.

``from bce3s.datasets import CIFAR100LT``: the data sets below are plain PyTorch ones of (image,
label). Nothing is imported before one of them is asked for: what needs the counts alone (reports,
tables) does not wait for torch.
"""

from typing import Any

IN_MEMORY = (
    'CIFAR100LT',
    'CIFAR10LT',
    'DigitsCanvasLT',
    'DigitsLT',
    'FashionMNISTLT',
    'MNISTLT',
)


def __getattr__(name: str) -> Any:
    if name not in IN_MEMORY:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from bce3s.datasets import in_memory

    return getattr(in_memory, name)
