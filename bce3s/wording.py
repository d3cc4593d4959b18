"""Small parts of sentences: numbers with their nouns, and the order of names."""

from __future__ import annotations

import re
from collections.abc import Iterable


def counted(number: int, one: str, many: str = '') -> str:
    """A number and its noun.

    >>> counted(1, 'image'), counted(2000, 'image'), counted(0, 'class')
    ('1 image', '2,000 images', '0 classes')
    """
    many = many or f'{one}{"es" if one.endswith("s") else "s"}'
    return f'{number:,} {one if number == 1 else many}'


def in_order(names: Iterable[str]) -> list[str]:
    """Distinct names in natural order: runs of digits count as numbers. Where the names are the
    numbers 0 .. K-1, name k stands at position k.

    >>> in_order(['10', 'b', '9', 'a10', 'a9', '010', '10'])
    ['9', '010', '10', 'a9', 'a10', 'b']
    """
    return sorted(set(names), key=_natural)


def _natural(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """Text and numbers in turn; a number by its length and digits, without zeros before it."""
    parts: list[str | tuple[int, str]] = list(re.split('([0-9]+)', name))
    for i in range(1, len(parts), 2):
        digits = parts[i].lstrip('0')
        parts[i] = len(digits), digits
    return parts, name
