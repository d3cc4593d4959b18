"""The published numbers: ``data_lists/published/NAME.csv``."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

PUBLISHED = Path(__file__).resolve().parents[2] / 'data_lists' / 'published'


def read_published(name: str) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """(labels, numbers as printed) of each row; columns with a dot in their name are measures of a
    run, an empty field is a number that the paper does not print.
    """
    with (PUBLISHED / f'{name}.csv').open(newline='', encoding='utf-8') as file:
        for row in csv.DictReader(file, strict=True):
            labels = {key: text for key, text in row.items() if '.' not in key}
            yield labels, {key: text for key, text in row.items() if '.' in key and text}
