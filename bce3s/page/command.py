"""``bce3s report``: a page of one run, or of several side by side."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bce3s.arguments import add_unknown, run_tool
from bce3s.errors import BCE3SError
from bce3s.page.writing import KINDS, check_writable, write_page

if TYPE_CHECKING:
    from bce3s.page.content import Section
    from bce3s.page.runs import PageRun

ONE, SEVERAL = 'report.html', 'comparison.html'
OWN = 'report.md'  # every run writes its own


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog='bce3s report',
        description='One HTML page (no network needed) and Markdown of one run, or of several '
        'side by side: accuracy, classes, confusions, features, calibration, rejection.',
    )
    p.add_argument('runs', nargs='+', metavar='RUN', help='run directory with a report.json')
    p.add_argument(
        '--out',
        metavar='FILE',
        help=f'the HTML file (default: RUN/{ONE}; of several runs {SEVERAL} in the folder that '
        'they are in); the Markdown lies beside it',
    )
    add_unknown(p)
    p.add_argument('--title', help='of the page')
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return run_tool(lambda: report(args))


def report(args: argparse.Namespace) -> int:
    """Writes the page and the Markdown; 1 if something that was asked for is not in them.

    Raises:
        BCE3SError: no run with a report, or a path that cannot be written.
    """
    from bce3s.engine.unknown_sets import unknown_options
    from bce3s.page.page import html, markdown
    from bce3s.page.runs import gather

    out = output_path(args.out, args.runs)
    if args.out or out.parent.is_dir():  # a run that is not there is not made
        check_writable(out, '--out')
    failures: list[str] = []

    def fail(sentence: str) -> None:
        if sentence not in failures:  # of another run
            failures.append(sentence)
            _say(f'error: {sentence}')

    runs = gather(args.runs, args.unknown, _say, fail, unknown_options(args.unknown_options))
    if not runs:
        raise BCE3SError('There is nothing to show: no run has a report.')
    names = [run.name for run in runs]
    several = f'{len(names)} runs: {", ".join(names)}'
    title = args.title or (names[0] if len(names) == 1 else several)
    sections = _made(runs, fail)
    for note in sections[-1].notes:  # what is missing
        if not any(failure in note for failure in failures):
            _say(f'note: {note}')
    print(write_page(out, html(title, sections), '--out'))
    print(write_page(markdown_path(out), markdown(title, sections), '--out'))
    return 1 if failures else 0


def _made(runs: list[PageRun], fail: Callable[[str], None]) -> list[Section]:
    """The sections; a terminal shows which one is being made."""
    from rich.console import Console
    from rich.progress import Progress

    from bce3s.page.page import make_sections, sections_of

    console = Console(stderr=True)
    look = dict(console=console, transient=True, auto_refresh=False)
    with Progress(**look, disable=not console.is_terminal) as bar:
        task = bar.add_task('page', total=len(sections_of(runs)))

        def show(name: str) -> None:
            bar.update(task, advance=1, description=name, refresh=True)

        return make_sections(runs, show, fail)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def output_path(out: str | None, runs: Sequence[str]) -> Path:
    """Where the page goes; a folder that is given gets the default name.

    Raises:
        BCE3SError: a file that is not called HTML.
    """
    folders = list({Path(run).resolve(): Path(run) for run in runs}.values())
    name = ONE if len(folders) == 1 else SEVERAL
    if out is not None:
        path = Path(out).expanduser()
        path = path / name if path.is_dir() else path
        if path.suffix.lower() not in KINDS:
            raise BCE3SError(f'--out {out}: give a file NAME.html, or a folder that is there.')
        return path
    if len(folders) == 1:
        return folders[0] / name
    parents = {folder.resolve().parent: folder.parent for folder in folders}
    return (next(iter(parents.values())) if len(parents) == 1 else Path()) / name


def markdown_path(page: Path) -> Path:
    """Beside the page; never the ``report.md`` that a run wrote itself."""
    path = page.with_suffix('.md')
    return path.with_name('report_page.md') if path.name == OWN else path
