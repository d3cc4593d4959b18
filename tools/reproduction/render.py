"""``TABLE.md``, ``TABLE.json`` and ``TABLE.png`` of what was collected."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from bce3s.files import written_whole
from bce3s.tables import markdown_table
from reproduction.cells import LAST, Column
from reproduction.collect import Collected, CollectedRow
from reproduction.figures import draw

FIRST_EPOCHS = 20  # "in the first 20 epochs" BCE's NC metrics fall faster, says the ICML paper


def write(collected: Collected, directory: Path) -> Path:
    """Writes the three files (the figure only if there is something to draw); each whole or not at
    all. Returns the path of ``TABLE.md``.
    """
    directory.mkdir(parents=True, exist_ok=True)
    name, drawn = collected.table.name, any(row.done for row in collected.rows)
    if drawn:
        draw(collected).savefig(directory / f'{name}.png')
    for suffix, text in (
        ('json', json.dumps(collected.as_dict(), indent=1, allow_nan=False, ensure_ascii=False)),
        ('md', markdown(collected, drawn)),
    ):
        with written_whole(directory / f'{name}.{suffix}') as file:
            file.write(text.encode())
    return directory / f'{name}.md'


def markdown(collected: Collected, drawn: bool) -> str:
    """The table as a document: a line for what is published, one for each selection of ours."""
    table, scale = collected.table, collected.scale
    axes = list(table.rows[0].labels)
    parts = [
        f'# {collected.title}',
        f'{table.paper}, {table.place}. {collected.summary} are done.',
    ]
    if scale.label:
        parts.append(f'**Scale {scale.label}.**')
    if scale.options:
        options = ' '.join(f'{key}={value}' for key, value in scale.options.items())
        parts.append(f'With `--cfg-options {options}`.')
    header = [*axes, '', 'epoch', 'n', *(column.name for column in table.columns)]
    lines = [line for row in collected.rows for line in _lines(collected, row)]
    parts.append(markdown_table(header, lines, left=len(axes) + 1))
    if drawn:
        parts.append(f'![{table.name}]({table.name}.png)')
    notes = [*findings(collected), *table.notes, *([scale.note] if scale.note else [])]
    if len(collected.rows) < len(table.rows):
        notes.append(
            f'{len(table.rows) - len(collected.rows)} of the {len(table.rows)} cells of the '
            f'published table are not part of the {scale.name} scale.'
        )
    notes.append("'-': not published, or not measured (yet). ±: sample deviation over n seeds.")
    parts.append('\n'.join(f'- {note}' for note in notes))
    return '\n\n'.join(parts) + '\n'


def _lines(collected: Collected, row: CollectedRow) -> Iterator[list[str]]:
    columns, labels = collected.table.columns, list(row.row.labels.values())
    if row.row.printed:
        printed = [row.row.printed.get(column.measure, '-') for column in columns]
        yield [*labels, 'published', '', '', *printed]
    for selection in collected.table.selections:
        epochs = {e for column in columns for e in row.epochs(column.measure, selection)}
        n = max(len(row.values(column.measure, selection)) for column in columns)
        numbers = [row.number(column, selection) for column in columns]
        told = ', '.join(map(str, sorted(epochs))) or '-'
        yield [*labels, f'ours, {selection}', told, str(n), *numbers]


# ---------------------------------------------------------------------------------------- findings
def findings(collected: Collected) -> list[str]:
    """What the numbers say of the paper's claims: counts, not judgements."""
    kind, pairs = collected.table.drawing.kind, list(_pairs(collected))
    found = [text for column in collected.table.columns for text in _better(collected, column)]
    if kind == 'curves':
        found += [_faster(collected, *pair) for pair in pairs if pair[0].done and pair[1].done]
    if kind == 'violins':
        found += [text for loss in ('CE', 'BCE') for text in _separated(collected, loss)]
    return found


def _pairs(collected: Collected) -> Iterator[tuple[CollectedRow, CollectedRow]]:
    """(CE, BCE) rows that differ in nothing else."""
    rows: dict[str, dict[str, CollectedRow]] = {}
    for row in collected.rows:
        rows.setdefault(collected.name_of(row), {})[row.loss] = row
    for found in rows.values():
        if found.keys() == {'CE', 'BCE'}:
            yield found['CE'], found['BCE']


def _better(collected: Collected, column: Column) -> Iterator[str]:
    """In how many pairs BCE has the better value, as published and in our runs."""
    if column.better is None:
        return
    sign = 1 if column.better == 'higher' else -1
    pairs = list(_pairs(collected))
    numbers = {
        'published': [[row.row.published.get(column.measure) for row in pair] for pair in pairs]
    }
    for selection in collected.table.selections:
        means = [[row.mean(column.measure, selection) for row in pair] for pair in pairs]
        numbers[f'ours ({selection})'] = means
    said = []
    for name, values in numbers.items():
        if whole := [pair for pair in values if None not in pair]:
            wins = sum(sign * (bce - ce) > 0 for ce, bce in whole)
            said.append(f'{name} {wins} of {len(whole)} pairs')
    if any(text.startswith('ours') for text in said):
        yield f'BCE has the {column.better} {column.name} than CE: {"; ".join(said)}.'


def _faster(collected: Collected, ce: CollectedRow, bce: CollectedRow) -> str:
    """In how many of the first epochs BCE's curve lies below CE's, seed 0."""
    counts = []
    for measure in collected.table.drawing.measures:
        curves = [row.done[0].curve(measure) for row in (ce, bce)]
        epochs = [e for e in curves[0].keys() & curves[1].keys() if e <= FIRST_EPOCHS]
        below = sum(curves[1][e] < curves[0][e] for e in epochs)
        counts.append(f'{measure.split(".")[1].upper()} in {below} of {len(epochs)}')
    return (
        f'{collected.name_of(bce)}, the epochs measured up to {FIRST_EPOCHS}, seed 0: BCE below CE '
        f'for {", ".join(counts)}.'
    )


def _separated(collected: Collected, loss: str) -> Iterator[str]:
    """Whether the biases lie between the negative and the positive scores."""
    jobs = [job for row in collected.rows if row.loss == loss for job in row.done]
    spread = [job.distributions() for job in jobs]
    spread = [one for one in spread if one and one['s_pos'] and one['s_neg']]
    if not spread:
        return
    means = [
        [job.value(f'train.{name}_mean', LAST) for name in ('s_neg', 'b', 's_pos')] for job in jobs
    ]
    between = sum(negative < bias < positive for negative, bias, positive in means)
    apart = sum(
        one['s_neg']['high'] < min(one['b']) and max(one['b']) < one['s_pos']['low']
        for one in spread
    )
    yield (
        f'{loss}: the mean bias lies between the means of the negative and the positive scores '
        f'in {between} of {len(means)} models; every bias lies between all negative and all '
        f'positive scores in {apart} of {len(spread)}.'
    )
