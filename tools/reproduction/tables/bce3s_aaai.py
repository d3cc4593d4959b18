"""BCE3S (AAAI 2026): its main results and its ablation on CIFAR-100-LT."""

from __future__ import annotations

from reproduction.cells import BEST_TTA, LAST, Cell, Column, Drawing, Row, Table
from reproduction.tables.icml import read_block
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

# config, data set, imbalance factor, All. The paper has ImageNet-LT too (ResNeXt-50: 58.54).
MAIN = """
cifar10lt_if100  CIFAR-10-LT  100 90.08
cifar100lt_if100 CIFAR-100-LT 100 59.50
cifar100lt_if50  CIFAR-100-LT 50  65.23
cifar100lt_if10  CIFAR-100-LT 10  76.13
"""
# config, Many, Medium, Few, All
ABLATION = """
ce_joint              82.29 51.37 15.67 51.48
bce_joint             81.11 55.06 17.40 52.88
bce_joint_contrastive 82.74 56.57 20.63 54.95
bce_joint_uniformity  81.03 56.51 19.20 53.90
bce3s                 83.34 57.09 22.80 55.99
ce_tsl                83.97 54.54 18.87 54.14
"""
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
            for (config, data, factor), printed in read_block(MAIN, 3, ('report.all',))
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
            for (config,), printed in read_block(ABLATION, 1, SPLITS)
        ),
        columns=COLUMNS,
        selections=(LAST, BEST_TTA),
        drawing=Drawing('dots', SPLITS),
        notes=(PROTOCOL,),
    ),
)
