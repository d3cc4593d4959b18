"""``TABLE.md``, ``TABLE.json`` and ``TABLE.png`` of what was collected."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bce3s.errors import BCE3SError
from bce3s.files import written_whole
from bce3s.tables import markdown_table
from reproduction.cells import Column
from reproduction.collect import Collected, CollectedRow, Measured
from reproduction.figures import draw
from reproduction.findings import findings


def write(collected: Collected, directory: Path) -> Path:
    """Writes the three files (the figure only if there is something to draw); each whole or not at
    all.

    Returns:
        The path of ``TABLE.md``.

    Raises:
        BCE3SError: the folder cannot be written.
    """
    name = collected.table.name
    said = findings(collected)
    picture = draw(collected)
    content = json.dumps(collected.as_dict(said), indent=1, allow_nan=False, ensure_ascii=False)
    files = {f'{name}.json': content.encode()}
    if picture is not None:
        files[f'{name}.png'] = picture
    files[f'{name}.md'] = markdown(collected, said, picture is not None).encode()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file, data in files.items():
            with written_whole(directory / file) as target:
                target.write(data)
    except OSError as error:
        raise BCE3SError(
            f'The table could not be written to {directory} ({error.strerror or error}): make '
            'room, or give another --out.'
        ) from error
    return directory / f'{name}.md'


def markdown(collected: Collected, said: Sequence[str], pictured: bool) -> str:
    """The table as a document."""
    table = collected.table
    parts = [f'# {collected.title}', f'{table.source}. {collected.summary()} are done.']
    if collected.scale.label:
        parts.append(f'**Scale {collected.scale.label}.**')
    if collected.scale.options:
        options = ' '.join(f'{key}={value}' for key, value in collected.scale.options.items())
        parts.append(f'With `--cfg-options {options}`.')
    if collected.shown:
        header = [*table.axes, '', 'epoch', 'n', *(column.name for column in table.columns)]
        rows = [line for row in collected.shown for line in _lines(collected, row)]
        parts.append(markdown_table(header, rows, left=len(table.axes) + 1))
    if pictured:
        parts.append(f'![{table.name}]({table.name}.png)')
    parts += ['\n'.join(f'- {sentence}' for sentence in said)] if said else []
    parts.append('\n'.join(f'- {note}' for note in _notes(collected)))
    return '\n\n'.join(parts) + '\n'


def _notes(collected: Collected) -> list[str]:
    notes = [*collected.table.notes, *collected.scale.notes]
    if any(
        '±' in cell for row in collected.shown for line in _lines(collected, row) for cell in line
    ):
        notes.append('mean ± sample standard deviation over n seeds.')
    if collected.skipped:
        kept = len(collected.shown)
        notes.append(
            f'{len(collected.skipped)} of the {len(collected.rows)} cells of the published table '
            f'are not part of the {collected.scale.name} scale; {kept} are.'
        )
    return [*notes, "'-': not published, or not measured (yet)."]


def _lines(collected: Collected, row: CollectedRow) -> list[list[str]]:
    """A line for what is published, one for each selection of ours."""
    columns, labels = collected.table.columns, list(row.labels.values())
    lines = []
    if row.row.printed:
        printed = [row.row.printed.get(column.measure, '-') for column in columns]
        lines.append([*labels, 'published', '', '', *printed])
    for selection in collected.table.selections:
        found = [row.number(column, selection) for column in columns]
        numbers = [_ours(value, column) for value, column in zip(found, columns, strict=True)]
        n = max((len(value.values) for value in found if value), default=0)
        lines.append([*labels, f'ours, {selection}', _epochs(row, columns, selection), str(n)])
        lines[-1] += numbers
    return lines


def _ours(value: Measured | None, column: Column) -> str:
    if value is None:
        return '-'
    mean = f'{value.mean:.{column.digits}f}'
    return mean if value.std is None else f'{mean} ± {value.std:.{column.digits}f}'


def _epochs(row: CollectedRow, columns: Sequence[Column], selection: str) -> str:
    epochs = sorted({e for column in columns for e in row.epochs(column.measure, selection)})
    return ', '.join(map(str, epochs)) or '-'
