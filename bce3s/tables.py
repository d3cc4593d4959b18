"""One way to write numbers and tables as text."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Sequence


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
    mean = f'{statistics.fmean(known):.{digits}f}'
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
    widths = [
        max(len(row[i]) for row in [header, *rows]) if aligned else 3 for i in range(len(header))
    ]
    rule = ['-' * w if i < left else '-' * (w - aligned) + ':' for i, w in enumerate(widths)]
    table = [header, rule, *rows]
    if aligned:
        table = [
            [
                c.ljust(w) if i < left else c.rjust(w)
                for i, (c, w) in enumerate(zip(row, widths, strict=True))
            ]
            for row in table
        ]
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in table)
