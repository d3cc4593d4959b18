"""What the tables of "BCE vs. CE in Deep Feature Learning" (ICML 2025) share: names, cells, and the
reader of the published numbers.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import bce3s
from bce3s.errors import BCE3SError
from reproduction.cells import Cell, Column

SOURCE = 'BCE vs. CE in Deep Feature Learning (ICML 2025)'
PUBLISHED = Path(bce3s.__file__).resolve().parents[1] / 'data_lists' / 'published'
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
# Every leaf of configs/icml has the loss BCE, ResNet-18 (ImageNet: ResNet-50) and SGD.
LOSSES: dict[str, dict[str, Any]] = {'bce': {}, 'ce': {'model.head.joint.type': 'CEJoint'}}
NETWORKS: dict[str, dict[str, Any]] = {
    'r18': {},
    'r50': {'model.backbone.depth': 50, 'model.head.in_channels': 2048},
    'd121': {
        'model.backbone': {
            '_delete_': True,
            'type': 'DenseNet',
            'arch': '121',
            'init_cfg': {'type': 'Kaiming', 'layer': 'Conv2d', 'mode': 'fan_in'},
        },
        'model.head.in_channels': 1024,
    },
}
DATA: dict[str, dict[str, Any]] = {
    'mnist': {},  # a leaf of its own
    'cifar10': {},
    'cifar100': {
        'train_dataloader.dataset.type': 'CIFAR100LT',
        'val_dataloader.dataset.type': 'CIFAR100LT',
        'model.head.num_classes': 100,
    },
}


def _optimizer(name: str, decay: float) -> dict[str, Any]:
    """``decay``: AdamW's own, in the place of SGD's."""
    if name == 'sgd':
        return {}
    adamw = {'type': 'AdamW', 'lr': 0.001, 'weight_decay': decay, 'fused': True}
    return {
        'optim_wrapper.optimizer': {'_delete_': True, **adamw},
        'default_hooks.schedule': {'_delete_': True, 'type': 'CosineLRHook', 'shift': 0.0},
    }


def collapse_cell(
    data: str,
    network: str,
    loss: str,
    optimizer: str,
    variant: str = 'nc',
    changes: Mapping[str, Any] | None = None,
) -> Cell:
    """A run of setting 1 (SGD) or 2 (AdamW), with ``changes`` if it is a variant of it."""
    leaf = 'mnist' if data == 'mnist' else 'cifar10'
    parts = DATA[data], NETWORKS[network], _optimizer(optimizer, 0.0), LOSSES[loss], changes or {}
    return Cell(
        f'{data}/{network}/{loss}/{optimizer}/{variant}',
        f'configs/icml/nc/{leaf}_r18_sgd.py',
        {key: value for part in parts for key, value in part.items()},
    )


def classification_cell(
    data: str, network: str, loss: str, optimizer: str, augmentation: str
) -> Cell:
    """A run of setting 3-6; ``augmentation`` is ``da1``, or ``da2`` for DA1 + DA2."""
    parts = DATA[data], NETWORKS[network], _optimizer(optimizer, 0.05), LOSSES[loss]
    return Cell(
        f'{data}/{network}/{loss}/{optimizer}/{augmentation}',
        f'configs/icml/classification/cifar10_r18_sgd_{augmentation}.py',
        {key: value for part in parts for key, value in part.items()},
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


def published(name: str) -> Iterator[tuple[tuple[str, ...], dict[str, str]]]:
    """(labels, published numbers by measure, as printed) of each row of a published table.

    ``data_lists/published/NAME.csv``: the columns with a dot in their name are measures, the others
    labels; an empty field is a number that the paper does not print.

    Raises:
        BCE3SError: a row with more or fewer fields than the header.
    """
    path = PUBLISHED / f'{name}.csv'
    with path.open(newline='', encoding='utf-8') as file:
        header, *rows = csv.reader(file)
    for line, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise BCE3SError(
                f'{path}, line {line} has {len(row)} fields instead of {len(header)}: correct it.'
            )
        labels = tuple(text for key, text in zip(header, row, strict=True) if '.' not in key)
        numbers = {key: text for key, text in zip(header, row, strict=True) if '.' in key and text}
        yield labels, numbers
