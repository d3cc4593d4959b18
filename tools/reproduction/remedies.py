"""The contrastive branch as published and with the remedies of docs/contrastive.md, compared on
images held out of the training files: what is chosen here has not seen the test set.
"""

from __future__ import annotations

from typing import Any

from reproduction.cells import Cell, Column, Drawing, Row, Table

BRANCH = 'model.head.contrastive'
BALANCED = {f'{BRANCH}.bias': 'balanced'}
NORM = {'model.head.projector_norm': True}
MEAN = {f'{BRANCH}.negatives': 'mean'}
CENTRED = {f'{BRANCH}.center': True}
ENTRIES = {'model.head.bank': {'normalize': True, 'momentum': 0.9}}
SOFTMAX = {BRANCH: {'_delete_': True, 'type': 'CEContrastive', 'tau': 0.1}}
WEIGHT_1 = {'model.head.weights.contrastive': 1.0}

REMEDIES: dict[str, tuple[str, dict[str, Any]]] = {
    'joint': ('no branch, no uniformity', {BRANCH: None, 'model.head.uniformity': None}),
    'uniformity': ('no branch', {BRANCH: None}),
    'published': ('as published', {}),
    'balanced': ('b balanced', BALANCED),
    'balanced_w1': ('b balanced, weight 1', {**BALANCED, **WEIGHT_1}),
    'norm': ('projector BatchNorm', NORM),
    'norm_balanced_w1': ('projector BatchNorm, b balanced, weight 1', NORM | BALANCED | WEIGHT_1),
    'centred': ('centred', CENTRED),
    'mean_w1': ('negatives averaged, weight 1', MEAN | WEIGHT_1),
    'learnt': ('b balanced, tau and b learnt', {**BALANCED, f'{BRANCH}.learn': True}),
    'entries': ('b balanced, moving unit entries', BALANCED | ENTRIES),
    'warm': ('b balanced, from epoch 6', {**BALANCED, f'{BRANCH}.start_epoch': 5}),
    'softmax': ('softmax, tau 0.1', SOFTMAX),
    'softmax_w1': ('softmax, tau 0.1, weight 1', SOFTMAX | WEIGHT_1),
}


def remedies_table(splits: tuple[Column, ...]) -> Table:
    """One stage, 50 images of each class held out; the seeds share nothing but these."""
    common = {
        'train_cfg.max_epochs': 200,
        'train_cfg.finetune_epochs': 0,
        'train_dataloader.dataset.val_per_class': 50,
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
        Drawing('dots', tuple(column.measure for column in splits)),
        notes=(
            'share: of the gradient that reaches the features; rank: effective rank of the bank; '
            'both, and the cosines with the bank, are means over the last epoch.',
            'Validation images: the last 50 of each class of the training files; the long tail is '
            'cut from the others (450 down to 4 images a class).',
        ),
    )
