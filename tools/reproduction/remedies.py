"""The contrastive branch as published and with the remedies of docs/contrastive.md, compared on
images held out of the training files: what is chosen here has not seen the test set.
"""

from __future__ import annotations

from typing import Any

from reproduction.cells import Cell, Column, Drawing, Row, Table

BRANCH = 'model.head.contrastive'
NO_BRANCH = {BRANCH: None}
BALANCED = {f'{BRANCH}.bias': 'balanced'}
CENTRED = {f'{BRANCH}.center': True}
MEAN = {f'{BRANCH}.negatives': 'mean'}
LEARNT = {f'{BRANCH}.learn': True}
SOFTMAX = {BRANCH: {'type': 'CEContrastive', 'tau': 0.1}}
NORM = {'model.head.projector_norm': True}
ENTRIES = {'model.head.bank': {'normalize': True, 'momentum': 0.9}}


def weight(value: float) -> dict[str, float]:
    """Of the branch; 0.1 as published."""
    return {'model.head.weights.contrastive': value}


REMEDIES: dict[str, tuple[str, dict[str, Any]]] = {
    'joint': ('no branch, no uniformity', {**NO_BRANCH, 'model.head.uniformity': None}),
    'uniformity': ('no branch', NO_BRANCH),
    'published': ('as published', {}),
    'balanced': ('b balanced', BALANCED),
    'balanced_w1': ('b balanced, weight 1', BALANCED | weight(1.0)),
    'norm': ('projector BatchNorm', NORM),
    'centred': ('centred', CENTRED),
    'norm_w003': ('projector BatchNorm, weight 0.03', NORM | weight(0.03)),
    'norm_balanced': ('projector BatchNorm, b balanced', NORM | BALANCED),
    'softmax': ('softmax, tau 0.1', SOFTMAX),
    'norm_learnt': ('projector BatchNorm, b balanced, tau and b learnt', NORM | BALANCED | LEARNT),
    'mean_w1': ('negatives averaged, weight 1', MEAN | weight(1.0)),
    'norm_entries': ('projector BatchNorm, moving unit entries', NORM | ENTRIES),
    'norm_late': ('projector BatchNorm, from epoch 6', {**NORM, f'{BRANCH}.start_epoch': 5}),
    'norm_softmax': ('projector BatchNorm, softmax, tau 0.1', NORM | SOFTMAX),
}


def remedies_table(splits: tuple[Column, ...]) -> Table:
    """One stage, 50 images of each class held out; the seeds share nothing but these."""
    common = {
        BRANCH: {'type': 'BCEContrastive', 'tau': 1.0},
        'train_cfg.max_epochs': 200,
        'train_cfg.finetune_epochs': 0,
        'train_dataloader.dataset.val_per_class': 50,
        'val_dataloader.dataset.split': 'val',
    }
    rows = tuple(
        Row(
            Cell(
                f'contrastive/{key}',
                'configs/bce3s/cifar100lt_if100_r32.py',
                {**common, **changes},
            ),
            {'contrastive branch': label},
        )
        for key, (label, changes) in REMEDIES.items()
    )
    return Table(
        'contrastive',
        'What lets the contrastive branch live, and what that brings',
        'Not in the papers: docs/contrastive.md',
        'CIFAR-100-LT, imbalance factor 100, on held-out training images',
        rows,
        (
            *splits,
            Column('share of the gradient', 'contrastive.share', 4),
            Column('cos own', 'contrastive.cos_own'),
            Column('cos others', 'contrastive.cos_other'),
            Column('rank', 'contrastive.rank', 1),
        ),
        Drawing('dots', tuple(column.measure for column in (splits[-1], *splits[:-1]))),
        notes=(
            'share: of the gradient that reaches the features; rank: effective rank of the bank; '
            'both, and the cosines with the bank, are means over the last epoch.',
            'Validation images: the last 50 of each class of the training files; the long tail is '
            'cut from the others (450 down to 4 images a class).',
        ),
    )
