"""One way to write numbers and tables as text."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Collection, Iterable, Sequence


def percent(value: float | None) -> str:
    """Two decimals; a dash for what is not defined.

    >>> percent(12.345), percent(None)
    ('12.35', '-')
    """
    return '-' if value is None else f'{value:.2f}'


def mean_std(values: Iterable[float | None], digits: int = 2) -> str:
    """Mean ± sample standard deviation ``sqrt(sum (x - mean)^2 / (n - 1))`` of what is defined; one
    value alone, a dash for none.

    >>> mean_std([90.0, 90.2]), mean_std([1.0], digits=1), mean_std([None])
    ('90.10 ± 0.14', '1.0', '-')
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return '-'
    mean = f'{round(statistics.fmean(known), digits) + 0.0:.{digits}f}'  # not -0.00
    return mean if len(known) == 1 else f'{mean} ± {statistics.stdev(known):.{digits}f}'


def escaped(text: object) -> str:
    r"""For Markdown: nothing in it is markup, ends a cell of a table, or begins a line.

    >>> print(escaped('a|b <i>'))
    a\|b \<i\>
    """
    return re.sub(r'([\\`*<>&|\[\]])', r'\\\1', re.sub(r'\s*[\r\n]\s*', ' ', str(text)))


def markdown_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1, aligned: bool = False
) -> str:
    """A Markdown table.

    Args:
        header: a text a column. rows: of as many texts.
        left: so many columns are flush left, the others right.
        aligned: whether columns are padded, for a terminal.

    >>> print(markdown_table(['Class', 'n'], [['cat', '12'], ['a', '3']], aligned=True))
    | Class |  n |
    | ----- | -: |
    | cat   | 12 |
    | a     |  3 |
    """
    if aligned:
        padded = _padded([header, *rows], range(left, len(header)))
        header, rows = padded[0], padded[1:]
    widths = [len(cell) if aligned else 3 for cell in header]
    rule = ['-' * w if i < left else '-' * (w - aligned) + ':' for i, w in enumerate(widths)]
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in [header, rule, *rows])


def text_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()
) -> str:
    """A table for a terminal.

    Args:
        header: a text a column. rows: of as many texts.
        right: columns that are flush right.

    >>> print(text_table(['Class', 'n'], [['cat', '12'], ['a', '3']], right=[1]))
    Class   n
    ---------
    cat    12
    a       3
    """
    lines = ['  '.join(row).rstrip() for row in _padded([header, *rows], right)]
    return '\n'.join([lines[0], '-' * max(map(len, lines)), *lines[1:]])


def _padded(rows: Sequence[Sequence[str]], right: Collection[int]) -> list[list[str]]:
    """With columns of one width each."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        [
            c.rjust(w) if i in right else c.ljust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]
