"""Which answers change in float32, of a network that was evaluated in another precision."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn

from bce3s.engine.feature_extraction import feature_batches
from bce3s.engine.run_directory import RunDirectory
from bce3s.errors import BCE3SError
from bce3s.inference.model_facts import evaluation_data

MOST = 2000  # images
BATCH = 100
SECONDS = 120.0  # after which no further batch is begun: bfloat16 is slow on many CPUs


def compare_precisions(run: RunDirectory, model: nn.Module, own: str | None) -> dict | None:
    """The answers of the network in float32 beside those in the precision of its evaluation.

    Args:
        run: whose evaluation data are looked at, ``MOST`` of its images at random.
        model: in evaluation mode on the CPU; its precision is the same afterwards.
        own: in which the run was evaluated, as its report says.

    Returns:
        ``images``, ``different`` (with another largest class), ``float32`` and ``own`` (percent of
        these images that are right). ``None``: it was float32 or is unknown, or the data are not
        there.
    """
    if own != 'bfloat16' or not hasattr(model, 'precision'):
        return None
    before = model.precision
    try:
        return _compared(run, model)
    except (BCE3SError, OSError, AttributeError, KeyError, IndexError, RuntimeError):
        return None
    finally:
        model.precision = before


def _compared(run: RunDirectory, model: nn.Module) -> dict | None:
    dataset = evaluation_data(run)
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))[:MOST]
    images = different = 0
    right = dict(fp32=0, bf16=0)
    end = time.monotonic() + SECONDS
    for chosen in order.split(BATCH):
        answers, labels = {}, torch.empty(0)
        for precision in right:
            model.precision = precision
            answers[precision], labels = _answers(model, dataset, sorted(chosen.tolist()))
            right[precision] += int((answers[precision] == labels).sum())
        images += len(labels)
        different += int((answers['fp32'] != answers['bf16']).sum())
        if time.monotonic() > end:
            break
    if not images:
        return None
    shares = {name: 100 * number / images for name, number in right.items()}
    return dict(images=images, different=different, float32=shares['fp32'], own=shares['bf16'])


@torch.no_grad()
def _answers(model: nn.Module, dataset: Any, chosen: list[int]) -> tuple[Tensor, Tensor]:
    """The largest class and the label of each image that can be read."""
    found = [
        (model.head(features).argmax(1), labels)
        for features, labels in feature_batches(model, dataset, BATCH, chosen)
    ]
    answers, labels = zip(*found, strict=True) if found else ([torch.empty(0)], [torch.empty(0)])
    return torch.cat(list(answers)), torch.cat(list(labels))


def precisions_text(results: dict[str, Any]) -> str:
    """A sentence or two; nothing where the run was evaluated in float32 or it is unknown."""
    own, found = results.get('precision'), results.get('precisions')
    if own in (None, 'float32'):
        return ''
    text = f'The backbone multiplied in {own} there; the files do in float32.'
    if not found:
        return f'{text} How many answers that changes was not measured.'
    same_images = results.get('images_per_class') is not None  # as those of the report
    reported = results.get('accuracy') if same_images else None
    of_all = '' if reported is None else f'; the report says {reported:.2f} % of all images'
    return (
        f'{text} That changes {found["different"]:,} of {found["images"]:,} answers on the '
        f'evaluation images: plain accuracy {found["float32"]:.2f} % in float32, '
        f'{found["own"]:.2f} % in {own} on these{of_all}.'
    )
