"""Words of a model card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bce3s.evaluation.report import escaped

UNKNOWN = 'unknown'


def known(value: Any) -> str:
    """The value, without markup, or that it is unknown."""
    return UNKNOWN if value is None or value == '' else escaped(value)


def listed(lines: Sequence[str]) -> str:
    """A Markdown list."""
    return '\n'.join(f'- {line}' for line in lines)
