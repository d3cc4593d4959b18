"""What it takes to do it again."""

from __future__ import annotations

import shlex
from typing import Any

from bce3s.page.gather import shown_path
from bce3s.page.sections import PageRun, Section, Table

TEXT = """\
The config in a run's folder is complete, options and seed included: this trains it again."""


def provenance(runs: list[PageRun]) -> Section:
    """Config, data, seed, machine and versions of each run, and the command that repeats it."""
    header = ['Run', 'Config', 'Config SHA-256', 'Data SHA-256', 'Seed', 'Epoch', 'Device']
    header += ['Precision']
    rows = [[run.name, *_facts(run.report)] for run in runs]
    commands = [[run.name, command(run)] for run in runs]
    tables = [
        Table(header, rows, left=len(header)),
        Table(['Run', 'Command'], commands, 'To train it again', left=2),
    ]
    return Section('provenance', 'How it was made', TEXT, tables=tables, notes=_versions(runs))


def _versions(runs: list[PageRun]) -> list[str]:
    """A line for all runs that were made with the same."""
    made: dict[str, list[str]] = {}
    for run in runs:
        versions = run.report.get('versions') or {}
        text = ', '.join(f'{name} {version}' for name, version in versions.items()) or 'unknown'
        made.setdefault(text, []).append(run.name)
    return [f'Versions ({", ".join(names)}): {text}' for text, names in made.items()]


def _facts(report: dict[str, Any]) -> list[str]:
    subset = report.get('subset') or {}
    epochs = f'{_said(report["epoch"])} of {_said(report.get("max_epochs"))}'
    return [
        str(report['config']),
        str(report.get('config_sha256') or 'unknown')[:12],
        str(subset.get('sha256') or 'unknown')[:12],
        _said(report['seed']),
        epochs,
        _said(report.get('device')),
        _said(report.get('precision')),
    ]


def _said(value: object) -> str:
    return 'unknown' if value is None else str(value)


def command(run: PageRun) -> str:
    """What trains the run again, into a folder beside its own."""
    configs = sorted(run.folder.glob('*.py'), key=lambda path: path.stat().st_mtime)
    if not configs:
        return f'(no config in {shown_path(run.folder)})'
    again = run.folder.with_name(run.folder.resolve().name + '_again')
    parts = ['python', 'tools/train.py', shown_path(configs[-1]), '--work-dir', shown_path(again)]
    return ' '.join(shlex.quote(part) for part in parts)
