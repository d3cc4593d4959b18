"""Tables, findings and figures of finished, missing and skipped cells."""

import io
import json

import numpy as np
from fakes import BCE, CE, CONFIG, TABLE, job, measures, put, report
from matplotlib import image

from reproduction.cells import BEST, LAST, Cell, Column, Drawing, Row, Scale, Table
from reproduction.collect import collect
from reproduction.figures import pooled
from reproduction.render import findings, write

FULL = Scale()
LABEL = 'small: not comparable with the published numbers'


def finish(root, cell, seed, accuracy, scale='full', nc1=0.5) -> None:
    run = job(root, cell, seed)
    run = type(run)(cell, seed, root / scale / cell.key / f'seed{seed}')
    history = measures([accuracy - 5, accuracy + 2, accuracy, accuracy], [1.0, 0.8, 0.6, nc1])
    put(run, report=report(run, 4, accuracy), measures=history)


def table_lines(path) -> list[list[str]]:
    lines = [line for line in path.read_text().splitlines() if line.startswith('|')]
    return [[word.strip() for word in line.strip('|').split('|')] for line in lines]


# ------------------------------------------------------------ numbers
def test_published_beside_ours_over_seeds(tmp_path):
    for seed, accuracy in enumerate((90.0, 91.0, 95.0)):
        finish(tmp_path, CE, seed, accuracy)
    path = write(collect(TABLE, FULL, 3, tmp_path), tmp_path / 'out')
    header, _, *lines = table_lines(path)
    assert header == ['data', 'loss', '', 'epoch', 'n', 'All', 'A', 'NC1']
    assert lines == [
        ['digits', 'CE', 'published', '', '', '92.8', '90.5', '-'],
        ['digits', 'CE', 'ours, last', '4', '3', '92.00 ± 2.65', '92.00 ± 2.65', '0.5000 ± 0.0000'],
        ['digits', 'CE', 'ours, best on test', '1, 2', '3', '93.00 ± 2.65', '94.00 ± 2.65',
         '0.8000 ± 0.0000'],
        ['digits', 'BCE', 'published', '', '', '93.0', '-', '-'],
        ['digits', 'BCE', 'ours, last', '-', '0', '-', '-', '-'],
        ['digits', 'BCE', 'ours, best on test', '-', '0', '-', '-', '-'],
    ]  # fmt: skip
    text = path.read_text()
    assert '3 of 6 runs are done' in text
    assert 'not comparable' not in text


def test_the_json_file_has_every_value(tmp_path):
    for seed, accuracy in enumerate((90.0, 91.0)):
        finish(tmp_path, CE, seed, accuracy)
    out = tmp_path / 'out'
    write(collect(TABLE, FULL, 2, tmp_path), out)
    content = json.loads((out / 'table1.json').read_text())
    ce, bce = content['rows']
    assert ce['published'] == {'report.all': 92.8, 'test.accuracy': 90.5}
    assert ce['measured'][LAST]['report.all'] == {'values': [90.0, 91.0], 'epochs': [4]}
    assert ce['measured'][BEST]['test.accuracy']['values'] == [92.0, 93.0]
    assert bce['measured'][LAST]['report.all']['values'] == []
    assert ce['overrides'] == {'train_cfg.max_epochs': 4}


def test_a_run_that_was_cut_short_or_changed_is_no_result(tmp_path):
    run = job(tmp_path)
    put(run, report=report(run, 2))
    put(job(tmp_path, CE, 1), report=report(run, 4, sha='another'))
    collected = collect(TABLE, FULL, 2, tmp_path)
    assert collected.rows[0].done == ()
    assert collected.summary == '0 of 4 runs'


def test_a_scale_says_so_in_everything_it_writes(tmp_path):
    small = Scale('small', LABEL, (('*/ce', {}),), 'Less.', {})
    finish(tmp_path, CE, 0, 90.0, scale='small')
    collected = collect(TABLE, small, 1, tmp_path)
    text = write(collected, tmp_path / 'out').read_text()
    assert text.splitlines()[0] == f'# table1: Digits [{LABEL}]'
    assert f'**Scale {LABEL}.**' in text
    assert '- Less.' in text
    assert '1 of the 2 cells of the published table are not part of the small scale.' in text
    assert 'BCE' not in ''.join(line for line in text.splitlines() if line.startswith('|'))
    assert json.loads((tmp_path / 'out' / 'table1.json').read_text())['label'] == LABEL
    assert LABEL in collected.title  # the figure's


def test_options_of_the_user_are_named(tmp_path):
    scale = Scale(options={'model.precision': 'bf16'})
    text = write(collect(TABLE, scale, 1, tmp_path), tmp_path / 'out').read_text()
    assert 'With `--cfg-options model.precision=bf16`.' in text


# ------------------------------------------------------------ findings
def test_ce_and_bce_are_compared(tmp_path):
    finish(tmp_path, CE, 0, 90.0, nc1=0.5)
    finish(tmp_path, BCE, 0, 90.0, nc1=0.4)
    said = findings(collect(TABLE, FULL, 1, tmp_path))
    assert said == [
        'BCE has the higher All than CE: published 1 of 1 pairs; ours (last) 0 of 1 pairs; ours '
        '(best on test) 0 of 1 pairs.',
        'BCE has the higher A than CE: ours (last) 0 of 1 pairs; ours (best on test) 0 of 1 pairs.',
        'BCE has the lower NC1 than CE: ours (last) 1 of 1 pairs; ours (best on test) 0 of 1 '
        'pairs.',
    ]


def test_nothing_is_said_without_results(tmp_path):
    assert findings(collect(TABLE, FULL, 1, tmp_path)) == []


def violins() -> Table:
    """Four cells: CE and BCE at two values of something."""
    rows = tuple(
        Row(
            Cell(f'{loss}/{value}', CONFIG, {'train_cfg.max_epochs': 4}),
            {'loss': loss, 'value': value},
            {'train.b_mean': '1.5'},
        )
        for loss in ('CE', 'BCE')
        for value in ('1', '2')
    )
    columns = (Column('b', 'train.b_mean', 4), Column('alpha', 'train.alpha', loss='BCE'))
    drawing = Drawing('violins', panel=('loss',), across='value')
    return Table('fig3', 'Violins', 'Nowhere', 'Figure 3', rows, columns, drawing)


def spread(root, row, seed, b, low, high) -> None:
    """A finished run whose biases are ``b``; positive scores above ``high``, negative below
    ``low``.
    """
    run = job(root, row.cell, seed)
    normal = np.exp(-(np.linspace(-2, 2, 64) ** 2)) * 1000
    counts = normal.astype(int).tolist()
    last = {
        'b_mean': float(np.mean(b)),
        's_pos_mean': high + 1.0,
        's_neg_mean': low - 1.0,
        'alpha': 0.5,
        'distributions': {
            'b': b,
            's_pos': {'low': high, 'high': high + 2.0, 'counts': counts},
            's_neg': {'low': low - 2.0, 'high': low, 'counts': counts},
        },
    }
    content = {'epochs': [{'epoch': 4, 'train': last, 'test': {'accuracy': 1.0}}]}
    put(run, report=report(run, 4), measures=content)


def test_separated_scores_are_counted(tmp_path):
    table = violins()
    for row, b in zip(table.rows, ([9.0, 9.1], [3.0, 3.0], [3.1, 3.0], [1.5, 3.0]), strict=True):
        spread(tmp_path, row, 0, b, low=2.0, high=4.0)
    said = findings(collect(table, FULL, 1, tmp_path))
    assert [sentence.split(':')[0] for sentence in said] == ['CE', 'BCE']
    assert 'scores in 1 of 2 models; every bias' in said[0]
    assert said[0].endswith('scores in 1 of 2.')
    assert 'scores in 2 of 2 models' in said[1]
    assert said[1].endswith('scores in 1 of 2.')  # one bias of the last model lies too low


def test_alpha_is_shown_of_bce_only(tmp_path):
    table = violins()
    for row in table.rows:
        spread(tmp_path, row, 0, [3.0, 3.0], low=2.0, high=4.0)
    lines = table_lines(write(collect(table, FULL, 1, tmp_path), tmp_path))
    ours = [line for line in lines if line[2].startswith('ours')]
    assert [line[-1] for line in ours] == ['-', '-', '0.50', '0.50']


def curves() -> Table:
    rows = tuple(
        Row(cell, {'optimizer': 'SGD', 'loss': loss}) for cell, loss in ((CE, 'CE'), (BCE, 'BCE'))
    )
    drawing = Drawing('curves', ('train.nc1',), ('optimizer',))
    return Table('fig2', 'Curves', 'Nowhere', '2', rows, (Column('NC1', 'train.nc1'),), drawing)


def test_epochs_where_bce_is_below_ce_are_counted(tmp_path):
    for cell, nc1 in ((CE, 0.5), (BCE, 0.4)):
        finish(tmp_path, cell, 0, 90.0, nc1=nc1)
    (sentence,) = findings(collect(curves(), FULL, 1, tmp_path))
    assert sentence.startswith('all, the epochs measured up to 20, seed 0:')
    assert sentence.endswith('BCE below CE for NC1 in 1 of 4.')


# ------------------------------------------------------------ figures
def pixels(path) -> np.ndarray:
    return image.imread(io.BytesIO(path.read_bytes()))


def test_dots(tmp_path):
    out = tmp_path / 'out'
    write(collect(TABLE, FULL, 1, tmp_path), out)
    assert not (out / 'table1.png').exists()  # nothing to draw yet
    finish(tmp_path, CE, 0, 90.0)
    write(collect(TABLE, FULL, 1, tmp_path), out)
    first = pixels(out / 'table1.png')
    finish(tmp_path, BCE, 0, 95.0)
    write(collect(TABLE, FULL, 1, tmp_path), out)
    second = pixels(out / 'table1.png')
    assert first.shape == second.shape
    assert (first != second).any()


def test_curves_and_violins_of_some_cells(tmp_path):
    finish(tmp_path, CE, 0, 90.0)
    finish(tmp_path, CE, 1, 90.0, nc1=0.2)
    write(collect(curves(), FULL, 2, tmp_path), tmp_path / 'out')
    assert pixels(tmp_path / 'out' / 'fig2.png').std() > 0.05
    table = violins()
    spread(tmp_path, table.rows[2], 0, [3.0, 3.0], low=2.0, high=4.0)
    spread(tmp_path, table.rows[2], 1, [3.0, 3.0], low=2.5, high=4.0)
    path = write(collect(table, FULL, 2, tmp_path), tmp_path / 'out')
    assert pixels(tmp_path / 'out' / 'fig3.png').std() > 0.05
    assert '![fig3](fig3.png)' in path.read_text()


def test_histograms_of_several_seeds_are_pooled():
    one = {'low': 0.0, 'high': 4.0, 'counts': [1, 2, 3, 4]}
    heights, counts = pooled([one])
    assert heights.tolist() == [0.5, 1.5, 2.5, 3.5]
    assert counts.tolist() == [1, 2, 3, 4]
    other = {'low': 4.0, 'high': 8.0, 'counts': [1, 1, 1, 1]}
    heights, counts = pooled([one, other])
    assert counts.sum() == 14
    assert heights.tolist() == [1.0, 3.0, 5.0, 7.0]
    assert counts.tolist() == [3, 7, 2, 2]
    point = {'low': 1.0, 'high': 1.0, 'counts': [5, 0]}
    assert pooled([point, point])[1].sum() == 5  # no spread at all
