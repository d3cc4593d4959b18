"""How the numbers are computed: arrays -> numbers, their MMEngine adapters, and the report."""

from .metrics import LongTailedMetric

__all__ = ['LongTailedMetric']
