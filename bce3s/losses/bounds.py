"""The check of the numbers that a loss is given."""

from __future__ import annotations

import math
from numbers import Real

from bce3s.errors import BCE3SError


def check_numbers(
    loss: object, below: float = math.inf, zero: bool = True, **values: float
) -> None:
    """Raise BCE3SError unless all values are numbers from 0 on, or above it without ``zero``, and
    below ``below``.
    """
    for name, value in values.items():
        if not isinstance(value, Real) or not 0 <= value < below or not (value or zero):
            limit = '' if below == math.inf else f' and below {below:g}'
            raise BCE3SError(
                f'{type(loss).__name__}: {name} must be a number {">=" if zero else ">"} 0{limit}, '
                f'not {value!r}.'
            )
