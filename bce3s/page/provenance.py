"""What it takes to do it again."""

from __future__ import annotations

import shlex
from typing import Any

from bce3s.page.content import Section, Table
from bce3s.page.runs import PageRun, shown_path


def provenance(runs: list[PageRun]) -> Section:
    """Config, data, seed, machine and versions of each run, and the command that repeats it."""
    text = (
        "The config in a run's folder is complete, options and seed included: this trains it again."
    )
    header = ['Run', 'Config', 'Config SHA-256', 'Data SHA-256', 'Seed', 'Epoch', 'Device']
    header += ['Precision']
    facts = Table(header, [[run.name, *_facts(run.report)] for run in runs], left=len(header))
    commands = [[run.name, command(run)] for run in runs]
    tables = [facts, Table(['Run', 'Command'], commands, 'To train it again', left=2)]
    made: dict[str, list[str]] = {}  # versions -> the runs that were made with them
    for run in runs:
        versions = run.report.get('versions') or {}
        said = ', '.join(f'{name} {version}' for name, version in versions.items()) or 'unknown'
        made.setdefault(said, []).append(run.name)
    notes = [f'Versions ({", ".join(names)}): {said}' for said, names in made.items()]
    return Section('provenance', 'How it was made', text, tables=tables, notes=notes)


def _facts(report: dict[str, Any]) -> list[str]:
    subset = report.get('subset') or {}
    facts = [
        report['config'],
        str(report.get('config_sha256') or 'unknown')[:12],
        str(subset.get('sha256') or 'unknown')[:12],
        report['seed'],
        f'{_known(report["epoch"])} of {_known(report.get("max_epochs"))}',
        report.get('device'),
        report.get('precision'),
    ]
    return [_known(fact) for fact in facts]


def _known(value: object) -> str:
    return 'unknown' if value is None else str(value)


def command(run: PageRun) -> str:
    """What trains the run again, into a folder beside its own."""
    configs = sorted(run.folder.glob('*.py'), key=lambda path: path.stat().st_mtime)
    if not configs:
        return f'(no config in {shown_path(run.folder)})'
    again = run.folder.with_name(run.folder.resolve().name + '_again')
    parts = ['python', 'tools/train.py', shown_path(configs[-1]), '--work-dir', shown_path(again)]
    return shlex.join(parts)
