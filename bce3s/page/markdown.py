"""The same sections as Markdown: texts and tables, without figures."""

from __future__ import annotations

from bce3s.page.page import paragraphs
from bce3s.page.sections import Section, Table
from bce3s.tables import escaped, markdown_table

LONGEST = 100  # rows of a table


def markdown(title: str, sections: list[Section]) -> str:
    """Headings, texts, tables and notes; tables are cut after ``LONGEST`` rows, which is said."""
    parts = [f'# {escaped(title)}']
    for section in sections:
        if section.figures and not (section.tables or section.notes):
            continue  # a text on figures that are not here
        if not (section.text or section.tables or section.notes):
            continue
        parts += [f'## {escaped(section.title)}']
        parts += [escaped(part) for part in paragraphs(section.text)]
        for table in section.tables:
            parts += _table(table)
        if section.notes:
            parts.append('\n'.join(f'- {escaped(note)}' for note in section.notes))
    return '\n\n'.join(parts) + '\n'


def _table(table: Table) -> list[str]:
    rows = [[escaped(cell) for cell in row] for row in table.rows[:LONGEST]]
    header = [escaped(cell) for cell in table.header]
    parts = [escaped(table.caption)] if table.caption else []
    parts.append(markdown_table(header, rows, table.left))
    if len(table.rows) > LONGEST:
        parts.append(f'{len(table.rows) - LONGEST} further rows are in the HTML page.')
    return parts
