"""What the numbers say of the paper's claims: counts, not judgements."""

from __future__ import annotations

from collections.abc import Iterator

from reproduction.cells import Column
from reproduction.collect import Collected, CollectedRow

FIRST_EPOCHS = 20  # "in the first 20 epochs" BCE's NC metrics fall faster, says the ICML paper
Pair = tuple[CollectedRow, CollectedRow]


def findings(collected: Collected) -> list[str]:
    """Sentences, in Markdown; none without results or without pairs of CE and BCE."""
    kind = collected.table.drawing.kind if collected.table.drawing else ''
    pairs = list(_pairs(collected))
    columns = collected.table.columns
    found = [text for column in columns for text in _better(collected, pairs, column)]
    if kind == 'curves':
        found += list(_faster(collected, pairs))
    if kind == 'violins':
        found += list(_separated(collected))
    return found


def _pairs(collected: Collected) -> Iterator[Pair]:
    """(CE, BCE) rows that differ in nothing else."""
    rows: dict[tuple, dict[str, CollectedRow]] = {}
    for row in collected.shown:
        labels = dict(row.labels)
        loss = labels.pop('loss', None)
        rows.setdefault(tuple(labels.items()), {})[loss] = row
    for found in rows.values():
        if found.keys() == {'CE', 'BCE'}:
            yield found['CE'], found['BCE']


def _better(collected: Collected, pairs: list[Pair], column: Column) -> Iterator[str]:
    if column.better is None:
        return
    sign = 1 if column.better == 'higher' else -1
    published = [[row.row.published.get(column.measure) for row in pair] for pair in pairs]
    texts = [_wins('published', published, sign)]
    for selection in collected.table.selections:
        measured = [[row.measured(column.measure, selection) for row in pair] for pair in pairs]
        means = [[value and value.mean for value in pair] for pair in measured]
        texts.append(_wins(f'ours ({selection})', means, sign))
    texts = [text for text in texts if text]
    if any(text.startswith('ours') for text in texts):
        yield f'BCE has the {column.better} {column.name} than CE: {"; ".join(texts)}.'


def _wins(name: str, pairs: list[list[float | None]], sign: int) -> str:
    whole = [(ce, bce) for ce, bce in pairs if ce is not None and bce is not None]
    if not whole:
        return ''
    wins = sum(sign * (bce - ce) > 0 for ce, bce in whole)
    equal = sum(bce == ce for ce, bce in whole)
    return f'{name} {wins} of {len(whole)} pairs' + (f' ({equal} equal)' if equal else '')


def _faster(collected: Collected, pairs: list[Pair]) -> Iterator[str]:
    """In how many of the first epochs BCE's curve lies below CE's, seed 0."""
    for ce, bce in pairs:
        if not (ce.results and bce.results):
            continue
        counts = []
        for measure in collected.table.drawing.measures:
            curves = [dict(row.results[0].curve(measure)) for row in (ce, bce)]
            epochs = sorted(e for e in curves[0].keys() & curves[1].keys() if e <= FIRST_EPOCHS)
            below = sum(curves[1][e] < curves[0][e] for e in epochs)
            name = measure.split('.')[1].upper()
            counts.append(f'{name} in {below} of {len(epochs)}')
        yield (
            f'{collected.told_apart(bce)}, the epochs measured up to {FIRST_EPOCHS}, seed 0: BCE '
            f'below CE for {", ".join(counts)}.'
        )


def _separated(collected: Collected) -> Iterator[str]:
    """Whether the biases lie between the negative and the positive scores."""
    for loss in ('CE', 'BCE'):
        rows = [row for row in collected.shown if row.labels.get('loss') == loss]
        results = [result for row in rows for result in row.results]
        spread = [result.distributions() for result in results]
        spread = [one for one in spread if one and one['s_pos'] and one['s_neg']]
        if not spread:
            continue
        means = [_means(result) for result in results if result.distributions()]
        between = sum(negative < bias < positive for bias, positive, negative in means)
        apart = sum(
            one['s_neg']['high'] < min(one['b']) and max(one['b']) < one['s_pos']['low']
            for one in spread
        )
        yield (
            f'{loss}: the mean bias lies between the means of the negative and the positive scores '
            f'in {between} of {len(means)} models; every bias lies between all negative and all '
            f'positive scores in {apart} of {len(spread)}.'
        )


def _means(result) -> tuple[float, float, float]:
    return tuple(
        result.value(f'train.{name}', 'last') for name in ('b_mean', 's_pos_mean', 's_neg_mean')
    )
