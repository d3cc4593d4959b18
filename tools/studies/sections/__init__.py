"""What ``tools/unconstrained.py`` shows, one section a module.

Each has ``run(options) -> dict`` (numbers that JSON can hold), ``text(result) -> str`` (tables) and
``draw(result) -> Figure``.
"""

from __future__ import annotations

from types import ModuleType

from studies.sections import beyond, collapse, imbalance, more_classes, ridge, tables

SECTIONS: dict[str, ModuleType] = {
    'collapse': collapse,
    'beyond': beyond,
    'table11': tables,
    'ridge': ridge,
    'imbalance': imbalance,
    'kd': more_classes,
}
