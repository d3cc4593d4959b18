"""``bce3s predict``: predictions of images, on the terminal and in a file.

Nothing here imports torch before the arguments are parsed.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
import warnings
from collections.abc import Sequence
from contextlib import closing, nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from bce3s.arguments import add_run, positive, run_tool
from bce3s.errors import BCE3SError
from bce3s.wording import counted

if TYPE_CHECKING:
    from mmengine.config import Config

    from bce3s.engine.run_directory import RunDirectory
    from bce3s.inference.arrays import PredictionArrays
    from bce3s.inference.predictor import Predictor
    from bce3s.inference.writing import PredictionFile, Summary
    from bce3s.page.predictions import PredictionPage

MOST_WORKERS = 8
EXAMPLES = """examples:
  bce3s predict work_dirs/my_folder photo.jpg
  bce3s predict work_dirs/my_folder photos/ --out predictions.csv --page predictions.html
  bce3s predict work_dirs/my_folder 'new/*.jpg' --threshold keep=95
  bce3s predict work_dirs/my_folder list.csv --out predictions.jsonl --threshold none
"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog='bce3s predict',
        description='The class of each image, its score and how common the class was in the '
        'training; or "none of these", where no logit is above the threshold. Where an image may '
        'have several labels: those above the thresholds of their classes, or none.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run(p)
    p.add_argument(
        'paths',
        nargs='+',
        metavar='PATH',
        help='an image; a folder, with all images below it; or a list of paths (.txt, .csv, .tsv), '
        'whose labels, if any, are not looked at',
    )
    p.add_argument(
        '--out',
        type=Path,
        metavar='FILE',
        help='NAME.csv or NAME.jsonl, written as predictions come; an older one is replaced',
    )
    p.add_argument(
        '--page',
        type=Path,
        metavar='FILE',
        help='NAME.html: the images by class, those of none and the doubtful ones first',
    )
    p.add_argument(
        '--npz',
        type=Path,
        metavar='FILE',
        help='NAME.npz: paths, classes, labels (by the folders), logits, probabilities and '
        'features as arrays, for cleanlab, FiftyOne and the like',
    )
    p.add_argument(
        '--threshold',
        type=_threshold,
        default='auto',
        metavar='T',
        help='an image whose largest logit is not above it is called none of the classes. auto '
        '(default): one for each class, which rejects at most 5 %% of the validation images; '
        'keep=90: one for all classes, which keeps 90 %% of them; uniform: that of the uniform '
        'accuracy; a number; none: no image is rejected. With several labels: auto (for each class '
        'the one of the largest F1 on the validation images), or a number, a logit for all (0: a '
        'probability of 0.5)',
    )
    p.add_argument(
        '--top', type=positive(int), default=5, help='classes an image in the file (default: 5)'
    )
    p.add_argument('--device', help='such as cpu or cuda:1 (default: a GPU if there is one)')
    p.add_argument('--batch-size', type=positive(int), default=64, help='images (default: 64)')
    p.add_argument(
        '--workers',
        type=_workers,
        help='processes that read images (default: one a core, up to '
        f'{MOST_WORKERS}; 0 for a few images)',
    )
    p.add_argument(
        '--data-root',
        metavar='DIR',
        help='what paths in lists are relative to (default: the folder of the list, or the '
        'data_root of the training)',
    )
    return p


def _threshold(text: str) -> str | float | None:
    if text in ('auto', 'uniform', 'none') or re.fullmatch(r'keep=(100|[1-9]?\d)', text):
        return None if text == 'none' else text
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


_threshold.__name__ = (
    'threshold (auto, uniform, keep=95, none or a number)'  # in argparse's sentence
)


def _workers(text: str) -> int:
    return 0 if int(text) == 0 else positive(int)(text)


_workers.__name__ = 'number of processes'


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 if something is missing or wrong, or an image cannot be read."""
    args = parser().parse_args(argv)
    kept = 'With --out FILE what is done is kept.'
    kept = f'What is done is in {args.out}, if an image was.' if args.out else kept
    return run_tool(lambda: predict(args), kept)


def predict(args: argparse.Namespace) -> None:
    """Raises BCE3SError where something is missing or wrong, in the end also for images that
    cannot be read; what else can be done is done before.
    """
    from bce3s.inference.arrays import PredictionArrays
    from bce3s.inference.found_images import expanded, find_images
    from bce3s.inference.hub import opened
    from bce3s.inference.writing import PredictionFile
    from bce3s.page.predictions import PredictionPage

    run = opened(args.run, args.checkpoint)
    images = find_images(args.paths, args.data_root, _trained_on(run.config), _note)
    given = [path for pattern in args.paths for path in expanded(pattern)]
    if args.out and args.out.exists() and any(args.out.samefile(path) for path in given):
        raise BCE3SError(f'--out {args.out} would replace what is to be read: name another file.')
    file = PredictionFile(args.out) if args.out else None
    page = PredictionPage(args.page) if args.page else None
    arrays = PredictionArrays(args.npz) if args.npz else None
    predictor = _predictor(args, run, len(images))
    with closing(file) if file else nullcontext():
        summary = _predict(predictor, images, file, page, arrays)
    print(summary.text())
    if args.out:
        print(f'\n{args.out}: {counted(summary.images, "row")}')
    if page is not None:
        print(f'\n{page.write(predictor)}')
    if arrays is not None:
        print(f'\n{arrays.write(predictor)}')
    if summary.errors:
        raise BCE3SError(_unread(summary, args.out))


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def _trained_on(config: Config) -> str | None:
    """The ``data_root`` of the images that the run was trained on."""
    loader = config.get('train_dataloader') or {}
    return (loader.get('dataset') or {}).get('data_root') or config.get('data_root')


def _predictor(args: argparse.Namespace, run: RunDirectory, images: int) -> Predictor:
    from bce3s.inference import Predictor
    from bce3s.inference.threshold import ThresholdWarning

    workers = args.workers
    if workers is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
        workers = 0 if images <= args.batch_size else min(cores, MOST_WORKERS)
    with warnings.catch_warnings(record=True) as notes:
        predictor = Predictor(
            run,
            threshold=args.threshold,
            device=args.device,
            batch_size=args.batch_size,
            workers=workers,
            top=args.top,
        )
    for note in notes:
        if issubclass(note.category, ThresholdWarning):
            _note(f'note: {note.message}')
        else:
            warnings.warn_explicit(note.message, note.category, note.filename, note.lineno)
    return predictor


def _predict(
    predictor: Predictor,
    images: list[str],
    file: PredictionFile | None,
    page: PredictionPage | None,
    arrays: PredictionArrays | None,
) -> Summary:
    from rich.console import Console
    from rich.progress import Progress

    from bce3s.inference.writing import Summary

    summary, console = Summary(predictor), Console(stderr=True)
    if file is not None:
        file.begin(predictor.classes, predictor.top, predictor.several)
    predictions = predictor.stream(images, 'keep', arrays and arrays.add)
    # no thread that draws: reading processes are forked
    look = dict(console=console, transient=True, auto_refresh=False)
    with Progress(**look, disable=not console.is_terminal) as bar:
        task = bar.add_task('images', total=len(images))
        while part := list(islice(predictions, predictor.batch_size)):
            if file is not None:
                file.write(part)
            if page is not None:
                page.add(part)
            summary.add(part)
            bar.update(task, advance=len(part), refresh=True)
    return summary


def _unread(summary: Summary, out: Path | None) -> str:
    number, images = len(summary.errors), counted(summary.images, 'image')
    what = f'{number:,} of {images} cannot be read'
    where = f' {out} says why of each.' if out else ''
    return f'{what}. The first: {summary.errors[0]}{where}'
