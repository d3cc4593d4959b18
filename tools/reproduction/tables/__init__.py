"""All tables and figures that can be reproduced, by name."""

from __future__ import annotations

import difflib
import re

from bce3s.errors import BCE3SError
from reproduction.cells import Table
from reproduction.tables import (
    bce3s_aaai,
    icml_bias,
    icml_classification,
    icml_collapse,
    icml_further,
    normalized,
)


def _order(table: Table) -> tuple[int, int]:
    """BCE3S, then the tables and the figures of the ICML paper, then the others."""
    kind = re.match(r'bce3s|table|fig|', table.name)[0]
    number = re.search(r'\d+', table.name) if kind in ('table', 'fig') else None
    return ('bce3s', 'table', 'fig', '').index(kind), int(number[0]) if number else 0


MODULES = (icml_classification, icml_further, icml_collapse, icml_bias, bce3s_aaai, normalized)
TABLES: dict[str, Table] = {
    table.name: table
    for table in sorted((table for module in MODULES for table in module.TABLES), key=_order)
}


def find_table(name: str) -> Table:
    """The table called ``name``; ``Table 1``, ``icml-table-1``, ``Figure 3`` and the like are
    understood too.

    Raises:
        BCE3SError: there is none; the sentence has the closest match and the list.
    """
    short = re.sub(r'[\s._-]+', '', name.lower()).removeprefix('icml')
    short = re.sub(r'^tab(?=\d)', 'table', re.sub(r'^figure', 'fig', short))
    for table in TABLES.values():
        if short == table.name.replace('-', ''):
            return table
    match = difflib.get_close_matches(name.lower(), TABLES, n=1, cutoff=0.5)
    likely = f' Did you mean {match[0]!r}?' if match else ''
    raise BCE3SError(f'There is no table {name!r}.{likely} There are {", ".join(TABLES)}.')
