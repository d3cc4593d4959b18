"""BCE3S (AAAI 2026): its main results and its ablation on CIFAR-100-LT."""

from __future__ import annotations

from reproduction.cells import BEST_TTA, LAST, Cell, Column, Drawing, Row, Table
from reproduction.tables.icml import published
from reproduction.tables.icml_further import long_tailed_cell

SOURCE = 'BCE3S (AAAI 2026, arXiv 2511.14097)'
SPLITS = ('report.many', 'report.medium', 'report.few', 'report.all')
COLUMNS = tuple(
    Column(measure.removeprefix('report.').capitalize(), measure, better='higher')
    for measure in SPLITS
)
PROTOCOL = (
    'The published figures are of the best epoch on the test set with flip TTA; our headline is '
    'the last epoch without.'
)

BRANCHES = {
    'ce_joint': 'CE joint',
    'bce_joint': 'BCE joint',
    'bce_joint_contrastive': 'BCE joint + contrastive',
    'bce_joint_uniformity': 'BCE joint + uniformity',
    'bce3s': 'BCE3S (all three)',
    'ce_tsl': 'CE, all three',
}


def _main(config: str) -> Cell:
    return Cell(f'{config.replace("_", "/")}/bce3s_two_stages', f'configs/bce3s/{config}.py')


TABLES = (
    Table(
        name='bce3s-main',
        title='BCE3S in two stages',
        source=f'{SOURCE}, main results',
        rows=tuple(
            Row(_main(config), {'data': data, 'IF': factor}, printed)
            for (config, data, factor), printed in published('bce3s_main')
        ),
        columns=COLUMNS,
        selections=(LAST, BEST_TTA),
        drawing=Drawing('dots', ('report.all',)),
        notes=(PROTOCOL,),
    ),
    Table(
        name='bce3s-ablation',
        title='Branches of BCE3S on CIFAR-100-LT, imbalance factor 100, one stage',
        source=f'{SOURCE}, ablation',
        rows=tuple(
            Row(long_tailed_cell(config), {'branches': BRANCHES[config]}, printed)
            for (config,), printed in published('bce3s_ablation')
        ),
        columns=COLUMNS,
        selections=(LAST, BEST_TTA),
        drawing=Drawing('dots', SPLITS),
        notes=(PROTOCOL,),
    ),
)
