"""``bce3s push``: the model of a run as a folder that anybody may load, and on the Hub.

Nothing here imports torch before the arguments are parsed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bce3s.arguments import add_run, run_tool

EXAMPLES = """examples:
  bce3s push work_dirs/my_folder NAME/my-flowers --private
  bce3s push work_dirs/my_folder --out my-flowers

The Hub asks who you are: `hf auth login`, or HF_TOKEN. In Python:
  Predictor.from_pretrained('NAME/my-flowers')
"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog='bce3s push',
        description='Writes the model of a run as a folder (config.json, model.safetensors, model '
        'card), and uploads it to the Hugging Face Hub. No image goes with it; the names and '
        'counts of the classes do.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run(p)
    p.add_argument('repo', metavar='REPO', nargs='?', help='NAME/MODEL on the Hub')
    p.add_argument('--out', type=Path, metavar='DIR', help='a folder to write, and keep')
    p.add_argument('--private', action='store_true', help='a repository that is made is private')
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 if something is missing, or the Hub says no."""
    p = parser()
    args = p.parse_args(argv)
    if not args.repo and not args.out:
        p.error('give a REPO to push to, or a folder to write with --out DIR, or both')
    return run_tool(lambda: push_tool(args), folder=args.out or '')


def push_tool(args: argparse.Namespace) -> None:
    """Raises BCE3SError where something is missing or wrong."""
    import mmpretrain.models  # noqa: F401

    from bce3s.config import explained
    from bce3s.engine.run_directory import RunDirectory
    from bce3s.inference.hub import push, save_pretrained

    run = RunDirectory.open(args.run, args.checkpoint)
    with tempfile.TemporaryDirectory() as temporary, explained(run.config):
        folder = save_pretrained(run, args.out or temporary, args.repo)
        if args.out:
            print(f'{folder}: {", ".join(sorted(path.name for path in folder.iterdir()))}')
        if args.repo:
            print(push(folder, args.repo, args.private))
