"""One thing that may be wrong with somebody's pictures, and how it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bce3s.datasets.checks import printable

SHOWN = 10  # lines of a finding that are written out; the rest are counted


@dataclass(frozen=True)
class Finding:
    """A warning.

    Attributes:
        kind: a word for programs, such as ``'near_leak'``.
        headline: how many, of what, and what to do.
        lines: the places, each a class or one or two pictures, in a fixed order.
    """

    kind: str
    headline: str
    lines: list[str]


def format_findings(findings: Sequence[Finding]) -> str:
    """Headlines, under each the first ``SHOWN`` of its lines; a sentence where there are none."""
    if not findings:
        return 'Nothing about the pictures looks wrong.'
    return printable('\n'.join(_text(finding) for finding in findings))


def _text(finding: Finding) -> str:
    lines = finding.lines[:SHOWN]
    if len(finding.lines) > SHOWN:
        lines = [*lines, f'and {len(finding.lines) - SHOWN:,} more']
    return '\n  '.join([f'* {finding.headline}', *lines])
