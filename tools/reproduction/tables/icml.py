"""What the tables of "BCE vs. CE in Deep Feature Learning" (ICML 2025) share: names, cells, and the
reader of their blocks of numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bce3s.errors import BCE3SError
from reproduction.cells import Cell, Column

SOURCE = 'BCE vs. CE in Deep Feature Learning (ICML 2025)'
NAMES = {
    'mnist': 'MNIST',
    'cifar10': 'CIFAR-10',
    'cifar100': 'CIFAR-100',
    'r18': 'ResNet-18',
    'r50': 'ResNet-50',
    'd121': 'DenseNet-121',
    'sgd': 'SGD',
    'adamw': 'AdamW',
    'ce': 'CE',
    'bce': 'BCE',
}
# Every leaf of configs/icml has the loss BCE.
LOSSES: dict[str, dict[str, Any]] = {'bce': {}, 'ce': {'model.head.joint.type': 'CEJoint'}}


def collapse_cell(
    data: str,
    network: str,
    loss: str,
    optimizer: str,
    variant: str = 'nc',
    changes: Mapping[str, Any] | None = None,
) -> Cell:
    """A run of setting 1 (SGD) or 2 (AdamW), with ``changes`` if it is a variant of it."""
    return Cell(
        f'{data}/{network}/{loss}/{optimizer}/{variant}',
        f'configs/icml/nc/{data}_{network}_{optimizer}.py',
        {**LOSSES[loss], **(changes or {})},
    )


def classification_cell(
    data: str, network: str, loss: str, optimizer: str, augmentation: str
) -> Cell:
    """A run of setting 3-6; ``augmentation`` is ``da1``, or ``da2`` for DA1 + DA2."""
    return Cell(
        f'{data}/{network}/{loss}/{optimizer}/{augmentation}',
        f'configs/icml/classification/{data}_{network}_{optimizer}_{augmentation}.py',
        LOSSES[loss],
    )


def run_labels(
    data: str, network: str, optimizer: str, loss: str, **further: str
) -> dict[str, str]:
    """The labels of a row."""
    return {
        'data': NAMES[data],
        'model': NAMES[network],
        'optimizer': NAMES[optimizer],
        **further,
        'loss': NAMES[loss],
    }


def mean_and_std(name: str, measure: str, digits: int = 4) -> tuple[Column, Column]:
    """Columns of a mean over scores (or biases) and of its standard deviation, which is one over
    scores, not over seeds.
    """
    return (
        Column(name, f'{measure}_mean', digits),
        Column(f'{name} std', f'{measure}_std', digits),
    )


def score_columns() -> tuple[Column, ...]:
    """Columns of Tables 6-11; all but the accuracies are of the training set."""
    return (
        Column('rho', 'train.rho', 4),
        *mean_and_std('s_pos', 'train.s_pos'),
        *mean_and_std('s_neg', 'train.s_neg'),
        *mean_and_std('b', 'train.b'),
        Column('alpha(b)', 'train.alpha', 4, loss='BCE'),
    )


def alpha_note() -> str:
    """What the published values of alpha are, and of which loss."""
    return (
        'b in the sign of the paper, z = W h - b. alpha(b) as printed there: Eq. 57 without '
        'lambda_b b, with n = batch size / K; the paper prints it for BCE only.'
    )


def read_block(
    text: str, labels: int, measures: Sequence[str]
) -> Iterator[tuple[tuple[str, ...], dict[str, str]]]:
    """(labels, published numbers by measure, as printed) of each line; ``-`` is no number.

    Raises:
        BCE3SError: a line with more or fewer words.
    """
    for line in text.strip().splitlines():
        words = line.split()
        if len(words) != labels + len(measures):
            raise BCE3SError(
                f'A line of a published table has {len(words)} words instead of '
                f'{labels + len(measures)}: {line}'
            )
        numbers = zip(measures, words[labels:], strict=True)
        printed = {name: word for name, word in numbers if word != '-'}
        yield tuple(words[:labels]), printed
