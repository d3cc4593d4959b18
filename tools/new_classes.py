#!/usr/bin/env python
"""How well a trained model learns new classes from 1, 5 and 20 images of each, both ways.

    python tools/new_classes.py RUN UNKNOWN

UNKNOWN has a folder of images for each new class; the first half of each folder is shown, the other
half tested on. The new classes are added five at a time. The old ones are tested on the run's test
split, or its validation split; percent, means over classes and groups.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bce3s.arguments import run_tool

IMAGES, TOGETHER = (1, 5, 20), 5


def main() -> int:
    """Prints the table."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('run', metavar='RUN', help='work dir of a run')
    p.add_argument('unknown', metavar='UNKNOWN', help='folder with a folder for each new class')
    args = p.parse_args()
    return run_tool(lambda: measure(args.run, args.unknown))


def measure(folder: str, unknown: str) -> None:
    """Prints accuracies of old and new classes."""
    import mmpretrain.models  # noqa: F401
    import numpy as np
    import torch

    from bce3s.engine.outputs import run_outputs
    from bce3s.engine.run_directory import RunDirectory
    from bce3s.inference.add_class import class_folders, features_of, old_classes
    from bce3s.inference.new_rows import WAYS, new_rows
    from bce3s.tables import markdown_table

    run = RunDirectory.open(folder)
    model, meta = run.model()
    _, features, _ = features_of(run, model, meta, class_folders(unknown))
    embed = model.head.classifier.embed
    halves = [embed(values).double() for values in features.values()]
    old = old_classes(model, run_outputs(run, 'train'))
    test = run_outputs(run, 'test' if 'test' in run.splits else 'val')
    seen = embed(torch.from_numpy(test.features)).double()
    labels = torch.from_numpy(test.labels)

    def accuracy(logits: Any) -> float:
        right = (logits.argmax(1) == labels).double()
        return 100 * float(np.mean([right[labels == k].mean() for k in labels.unique()]))

    def both(images: int, way: str) -> tuple[float, float]:
        """Of the old classes and of the new ones."""
        figures = []
        for first in range(0, len(halves), TOGETHER):
            some = halves[first : first + TOGETHER]
            weight, bias = new_rows([f[: min(images, len(f) // 2)] for f in some], old, way)
            shown = [torch.cat([old.logits(x), x @ weight.T + bias], 1) for x in (seen, *some)]
            hits = [
                (z[len(z) // 2 :].argmax(1) == len(old.weight) + i).double().mean()
                for i, z in enumerate(shown[1:])
            ]
            figures.append((accuracy(shown[0]), 100 * float(np.mean(hits))))
        return tuple(np.mean(figures, axis=0))

    print(f'{run.folder}: {accuracy(old.logits(seen)):.2f} % of the old classes before\n')
    rows = []
    for way in WAYS:
        pairs = [both(images, way) for images in IMAGES]
        rows.append([way, *(f'{figure:.1f}' for pair in pairs for figure in pair)])
    header = ['way', *(f'{n}: {what}' for n in IMAGES for what in ('old', 'new'))]
    print(markdown_table(header, rows, aligned=True))


if __name__ == '__main__':
    sys.exit(main())
