"""What the classes of a run are called, and how many images each had."""

from __future__ import annotations

from typing import Any

from torch import nn

from bce3s.engine.run_directory import RunDirectory
from bce3s.errors import BCE3SError


def class_facts(
    run: RunDirectory, model: nn.Module, meta: dict[str, Any]
) -> tuple[list[str], list[int]]:
    """Names and training images of the classes, as the checkpoint says, or else its head."""
    data = meta.get('dataset_meta') or {}
    counts = data.get('class_counts') or model.head.class_counts.tolist()
    names = data.get('classes') or range(len(counts))
    if not len(names) == len(counts) == model.head.num_classes:
        raise BCE3SError(
            f'{run.checkpoint} names {len(names)} classes with {len(counts)} counts, its head has '
            f'{model.head.num_classes}: it was not written by a training run of this version.'
        )
    return [str(name) for name in names], [int(n) for n in counts]


def several_labels(meta: dict[str, Any]) -> bool:
    """Whether an image may have several of the classes, by a checkpoint's ``meta``."""
    return bool((meta.get('dataset_meta') or {}).get('multilabel'))
