"""All tables and figures that can be reproduced, by name."""

from __future__ import annotations

import difflib
import re

from bce3s.errors import BCE3SError
from bce3s.reproduction.cells import Table
from bce3s.reproduction.tables import (
    bce3s_aaai,
    icml,
    icml_bias,
    icml_classification,
    icml_collapse,
    icml_further,
    normalized,
)


def _order(table: Table) -> tuple[int, int]:
    """Tables, then figures, by their numbers."""
    kind, number = re.match(r'(table|fig)(\d+)', table.name).groups()
    return ('table', 'fig').index(kind), int(number)


ICML = (icml_classification, icml_further, icml_collapse, icml_bias)
# paper -> its tables and figures
PAPERS: dict[str, list[Table]] = {
    bce3s_aaai.SOURCE: list(bce3s_aaai.TABLES),
    icml.SOURCE: sorted((table for module in ICML for table in module.TABLES), key=_order),
    normalized.SOURCE: list(normalized.TABLES),
}
TABLES = {table.name: table for tables in PAPERS.values() for table in tables}


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
