"""Every method of ``configs/rivals`` on the same data, network, augmentation and schedule: a config
there is a row here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bce3s.config import read_config
from bce3s.errors import BCE3SError
from reproduction.cells import Cell, Column, Drawing, Row, Table
from reproduction.jobs import ROOT
from reproduction.published import read_published

FOLDER = ROOT / 'configs' / 'rivals'
# Second stages on the same first one: that is trained once, and they begin from its last epoch.
FIRST_STAGE = {
    'crt': 'ce',
    'lws': 'ce',
    'los': 'ce',
    'weight_balancing': 'ce',
    'bce3s': 'bce3s_one_stage',
    'glmc_maxnorm': 'glmc',
}
SECOND_EPOCHS = {'los': 20}  # of the second stage; 10 of the others
MAX_NORM = ('weight_balancing', 'glmc_maxnorm')  # rate and decay follow the number of classes
# What posthoc.json has of a run besides the run as trained, of which first stages it is shown.
POSTHOC = {
    'Logit adjustment, tau 1': ('ce',),
    'Log-odds adjustment, tau 1': ('bce',),
    'tau-normalisation': ('ce',),
    'Nearest class mean, cosine': ('ce',),
    'Multiplicative adjustment': ('etf_decay',),
}
OPEN = (
    'AUROC: test images of the known classes against those of the classes left out, by the largest '
    'logit; mean over the known classes.'
)
DATA = {'cifar100lt': ('CIFAR100LT', 100), 'cifar10lt': ('CIFAR10LT', 10)}  # type, classes
AUGMENT = [
    {'type': 'BatchPadCrop', 'padding': 4},
    {'type': 'BatchFlip'},
    {'type': 'BatchAutoAugment', 'policy': 'cifar10'},
    {'type': 'BatchCutout', 'size': 16},
]
BACKBONES: dict[str, dict[str, Any]] = {
    'r20': {'model.backbone.depth': 20},
    'r32': {},
    'r32x4': {'model.backbone.width': 4, 'model.head.in_channels': 256},
    # the published recipe of BCE3S: its network, schedule, subset and three views
    'r34': {
        'model.backbone': {'_delete_': True, 'type': 'ResNet_CIFAR', 'depth': 34},
        'model.head.in_channels': 512,
        'model.data_preprocessor.mix': [{'type': 'PairedMixUp'}, {'type': 'PairedCutMix'}],
        'train_dataloader.batch_sampler.type': 'PairedBatchSampler',
        'train_dataloader.batch_size': 64,
        'train_dataloader.dataset.rule': 'first_n',
        'train_cfg.max_epochs': 320,
        'optim_wrapper.optimizer.lr': 0.01,
        'optim_wrapper.optimizer.weight_decay': 5e-3,
        'default_hooks.schedule.warmup_epochs': 0,
    },
}


@dataclass(frozen=True)
class Harness:
    """What all rows share.

    Args:
        data: ``cifar100lt`` or ``cifar10lt``.
        factor: imbalance factor.
        backbone: ``r32``, the true CIFAR ResNet-32; ``r20``; ``r32x4``, of four times the width; or
            ``r34``, BCE3S's ResNet-34 with its schedule and its three views.
        augment: ``plain``, crop and flip, or ``auto``, with AutoAugment and Cutout.
        unknown: whether every fifth class is left out of the training, to be rejected.
    """

    data: str = 'cifar100lt'
    factor: int = 100
    backbone: str = 'r32'
    augment: str = 'plain'
    unknown: bool = False

    @property
    def name(self) -> str:
        shared = f'{self.data}_if{self.factor}_{self.backbone}_{self.augment}'
        return shared + '_open' * self.unknown

    @property
    def table(self) -> str:
        return 'rivals' if self == Harness() else f'rivals_{self.name}'

    @classmethod
    def of(cls, table: str) -> Harness | None:
        """By the name of its table; None if it is not one of these."""
        if table == 'rivals':
            return cls()
        parts = '|'.join(DATA), r'[1-9]\d*', '|'.join(BACKBONES)
        named = re.fullmatch('rivals_({})_if({})_({})_(plain|auto)(_open)?'.format(*parts), table)
        if named is None:
            return None
        data, factor, backbone, augment, unknown = named.groups()
        return cls(data, int(factor), backbone, augment, unknown is not None)

    @property
    def overrides(self) -> dict[str, Any]:
        changes, (kind, classes) = dict(BACKBONES[self.backbone]), DATA[self.data]
        if self.factor != 100:
            changes['train_dataloader.dataset.imbalance_factor'] = self.factor
        if self.data != 'cifar100lt':
            for loader in ('train', 'val'):
                changes[f'{loader}_dataloader.dataset.type'] = kind
            changes['model.head.num_classes'] = classes
        if self.unknown:
            known = [k for k in range(classes) if k % 5 != 4]
            changes['train_dataloader.dataset.keep_classes'] = known
            changes['model.head.num_classes'] = len(known)
        if self.augment == 'auto':
            changes['model.data_preprocessor.augment'] = AUGMENT
        return changes


def rivals_table(splits: tuple[Column, ...], harness: Harness | None = None) -> Table:
    """Rows in the order of the names of the config files, CE and BCE first."""
    harness = harness or Harness()
    return Table(
        harness.table,
        'Methods for long tails under one harness',
        'Not in one paper: configs/rivals',
        harness.name,
        tuple(_rows(harness)),
        (
            splits[-1],
            *splits[:-1],
            Column('ECE', 'posthoc.ece'),
            *((Column('AUROC', 'open_set.auroc'),) if harness.unknown else ()),
            Column('seconds', 'run.seconds', 0),
            Column('parameters', 'run.parameters', 0),
        ),
        Drawing('dots', tuple(column.measure for column in (splits[-1], *splits[:-1]))),
        notes=(
            'The last epoch, without test-time augmentation. What a second stage or an adjustment '
            'begins from stands before its +; its seconds are its own.',
            'tau-normalisation and the multiplicative adjustment take the tau that is best on one '
            'half of the test images and are measured on the other, both ways; nothing else has '
            'seen a test image.',
            'ECE: expected calibration error, percent, 15 bins.',
            *((OPEN,) if harness.unknown else ()),
            *_conditions(harness),
        ),
    )


def methods() -> dict[str, str]:
    """Name of the config file -> what its docstring calls the method, CE and BCE first.

    Raises:
        BCE3SError: a config without a docstring whose first line is ``METHOD: what``.
    """
    found = {}
    for path in sorted(FOLDER.glob('*.py'), key=lambda p: (p.stem not in ('ce', 'bce'), p.stem)):
        text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
        name, colon, _ = text.partition(':')
        if not colon or '\n' in name:
            raise BCE3SError(
                f'{path}: the first line of its docstring should be "METHOD: what it is"; METHOD '
                'names the row of the table.'
            )
        found[path.stem] = name
    return found


def _rows(harness: Harness) -> Iterator[Row]:
    """What begins from a method's last epoch stands below it."""
    names, printed = methods(), _published(harness)

    def row(cell: Cell, name: str, posthoc: str = '') -> Row:
        method = cell.key.split('/')[-1] + (f' + {posthoc}' if posthoc else '')
        labels = {'method': name, 'published': printed.get(method, '-')}
        return Row(cell, labels, posthoc=posthoc)

    for stem, name in names.items():
        if stem in FIRST_STAGE:
            continue
        shared = _fitted(harness, f'configs/rivals/{stem}.py')
        if shared is None:
            continue
        cell = Cell(_key(harness, stem), f'configs/rivals/{stem}.py', shared)
        yield row(cell, name)
        for adjustment, of in POSTHOC.items():
            if stem in of:
                yield row(cell, f'{name} + {adjustment}', adjustment)
        for second in (second for second, first in FIRST_STAGE.items() if first == stem):
            changes = {**shared, 'train_cfg.max_epochs': SECOND_EPOCHS.get(second, 10)}
            if second in MAX_NORM:
                classes = shared.get('model.head.num_classes', 100)
                changes['default_hooks.schedule.lr'] = 0.02 / classes
                changes['default_hooks.schedule.weight_decay'] = 0.1 * classes
            config, key = f'configs/rivals/{second}.py', _key(harness, f'{stem}+{second}')
            whole = names[second].startswith(name)
            told = names[second] if whole else f'{name} + {names[second]}'
            yield row(Cell(key, config, changes, cell.key), told)


def _fitted(harness: Harness, config: str) -> dict[str, Any] | None:
    """What the harness changes in a config: a network's features meet a lift before the head, and a
    method keeps views of its own. None: the method has a network of its own, of one width only.
    """
    if harness.backbone in ('r32', 'r20'):
        return harness.overrides
    changes, model = harness.overrides, read_config(str(ROOT / config)).model
    if model.backbone.type == 'ExpertsCIFARResNet':
        return None
    if (model.get('neck') or {}).get('type') == 'LinearNeck':
        changes['model.neck.in_channels'] = changes.pop('model.head.in_channels')
    if model.data_preprocessor.get('views') or model.data_preprocessor.get('batch_mix'):
        changes.pop('model.data_preprocessor.mix', None)
        changes.pop('train_dataloader.batch_sampler.type', None)
    return changes


def _conditions(harness: Harness) -> Iterator[str]:
    """Of what is published, none of it under this harness."""
    if _published(harness):
        told = [
            f'{labels["method"]}: {labels["conditions"]}' for labels, _ in read_published('rivals')
        ]
        yield f'Published figures are of other conditions. {"; ".join(told)}.'


def _published(harness: Harness) -> dict[str, str]:
    """All of a method, as printed."""
    if (harness.data, harness.factor, harness.unknown) != ('cifar100lt', 100, False):
        return {}
    rows = read_published('rivals')
    return {labels['method']: printed['report.all'] for labels, printed in rows}


def _key(harness: Harness, method: str) -> str:
    return f'rivals/{harness.name}/{method}'
