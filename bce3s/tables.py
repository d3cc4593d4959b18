"""One way to write numbers, words and tables as text."""

from __future__ import annotations


def counted(number: int, one: str, many: str = '') -> str:
    """A number of things.

    >>> counted(1, 'class'), counted(2000, 'class'), counted(0, 'image')
    ('1 class', '2,000 classes', '0 images')
    """
    many = many or f'{one}{"es" if one.endswith("s") else "s"}'
    return f'{number:,} {one if number == 1 else many}'
