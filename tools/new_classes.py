#!/usr/bin/env python
"""How well a trained model learns new classes from 1, 5 and 20 images of each, both ways.

    python tools/new_classes.py RUN UNKNOWN

UNKNOWN has a folder of images for each new class; the first half of each folder is shown, the other
half tested on. The new classes are added five at a time. The old ones are tested on the run's test
split, or its validation split; percent, means over classes and groups.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from bce3s.arguments import run_tool
from bce3s.engine.outputs import run_outputs
from bce3s.engine.run_directory import RunDirectory
from bce3s.errors import BCE3SError
from bce3s.inference.add_class import class_folders, features_of, old_classes
from bce3s.inference.new_rows import WAYS, new_rows
from bce3s.tables import markdown_table

IMAGES, TOGETHER = (1, 5, 20), 5


def main() -> None:
    import mmpretrain.models  # noqa: F401

    if len(sys.argv) != 3:
        raise BCE3SError('usage: python tools/new_classes.py RUN UNKNOWN')
    run = RunDirectory.open(sys.argv[1])
    model, meta = run.model()
    _, features, _ = features_of(run, model, meta, class_folders(sys.argv[2]))
    embed = model.head.classifier.embed
    halves = [embed(values).double() for values in features.values()]
    old = old_classes(model, run_outputs(run, 'train'))
    test = run_outputs(run, 'test' if 'test' in run.splits else 'val')
    seen = embed(torch.from_numpy(test.features)).double()
    labels = torch.from_numpy(test.labels)

    def accuracy(logits: torch.Tensor) -> float:
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
    sys.exit(run_tool(main))
