"""A trained network as a file that runs without this package, checked to give the same scores."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bce3s.config import explained
from bce3s.engine.run_directory import RunDirectory, load_model
from bce3s.errors import BCE3SError
from bce3s.files import written_whole
from bce3s.inference.export_formats import Format, Metadata, Scores, quiet

TOLERANCE = 1e-4  # of the largest |logit|
BATCHES = (1, 7)
TIMED_BATCH = 16
SECONDS = 0.5


class ExportedNetwork(nn.Module):
    """Images (N, C, H, W), uint8, to logits (N, K), float32: all of a model that prediction needs.

    ``logits = embed(neck(backbone((pad(images) - mean) / std))) W^T + b`` with the weights as the
    classifier multiplies them, normalised and scaled once. A grey image becomes coloured where
    ``mean`` has three values.

    Args:
        model: a ``LongTailedClassifier`` on the CPU; its backbone is copied.

    Raises:
        BCE3SError: a model without a linear classifier, or with another preprocessor.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        classifier = getattr(getattr(model, 'head', None), 'classifier', None)
        if not hasattr(classifier, 'linear'):
            raise BCE3SError(
                'The model has no head with a linear classifier, such as TripartiteHead, and '
                'cannot be exported.'
            )
        preprocessor = model.data_preprocessor
        if not hasattr(preprocessor, 'normalize') or not hasattr(preprocessor, 'pad'):
            raise BCE3SError(
                f'The model has the preprocessor {type(preprocessor).__name__}; what is exported '
                'is the normalisation of LongTailedPreprocessor.'
            )
        self.pad, self.normalize_feature = preprocessor.pad, classifier.normalize_feature
        self.register_buffer('mean', preprocessor.mean.detach().clone())
        self.register_buffer('std', preprocessor.std.detach().clone())
        self.backbone = copy.deepcopy(model.backbone).to(memory_format=torch.contiguous_format)
        self.neck = copy.deepcopy(getattr(model, 'neck', None))
        weight, bias = (value.detach() for value in classifier.linear())
        self.linear = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            self.linear.weight.copy_(weight)
            self.linear.bias.copy_(bias)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        x = images.to(torch.float32)
        if self.pad:
            x = F.pad(x, [self.pad] * 4)
        x = self.backbone((x - self.mean) / self.std)
        if self.neck is not None:
            x = self.neck(x)
        x = x[-1] if isinstance(x, tuple | list) else x
        return self.linear(F.normalize(x, dim=-1) if self.normalize_feature else x)


def float32_model(run: RunDirectory) -> tuple[nn.Module, dict[str, Any]]:
    """The model of a run on the CPU, its backbone in float32 and not compiled, and the
    checkpoint's ``meta``.

    Raises:
        BCE3SError: as :func:`~bce3s.engine.run_directory.load_model`; a config of another version.
    """
    config = copy.deepcopy(run.config)
    if 'compile' in config.model:
        config.model.compile = False
    with explained(run.config):
        model, meta = load_model(config, run.checkpoint)
    if hasattr(model, 'precision'):
        model.precision = 'fp32'
    return model.cpu().requires_grad_(False), meta


def model_scores(model: nn.Module) -> Scores:
    """Images to logits the way that the package itself takes in an evaluation."""

    def scores(images: Tensor) -> Tensor:
        batch = model.data_preprocessor(dict(inputs=images, data_samples={}), training=False)
        return model.head(model.features(batch['inputs']))

    return scores


@dataclass(frozen=True)
class Agreement:
    """How near the logits of a file are to those of the model.

    Attributes:
        difference: the largest, of all images and classes.
        scale: the largest ``|logit|`` of the model.
        same: images with the same largest class. images: of how many.
    """

    difference: float
    scale: float
    same: int
    images: int

    @property
    def fine(self) -> bool:
        """Whether the difference is within ``TOLERANCE`` of the scale."""
        return self.difference <= TOLERANCE * self.scale


@torch.no_grad()
def agreement(original: Scores, exported: Scores, images: Tensor) -> Agreement:
    """Compares batches of 1 and 7 of the (8, C, H, W) ``images``.

    Raises:
        BCE3SError: the model itself gives logits that are not finite.
    """
    difference = scale = 0.0
    same = 0
    for batch in images.split(BATCHES):
        wanted, given = original(batch), exported(batch)
        if not wanted.isfinite().all():
            raise BCE3SError(
                'The model gives scores that are not finite: its training has failed. Use an '
                'earlier checkpoint (--checkpoint).'
            )
        if given.shape != wanted.shape or not given.isfinite().all():
            return Agreement(float('inf'), scale, same, len(images))
        difference = max(difference, (given - wanted).abs().max().item())
        scale = max(scale, wanted.abs().max().item())
        same += (given.argmax(1) == wanted.argmax(1)).sum().item()
    return Agreement(difference, scale, int(same), len(images))


@dataclass(frozen=True)
class Exported:
    """A file that was written and checked.

    Attributes:
        format: its kind. path: the file.
        agreement: see there.
        speeds: images a second of the model and of the file, on this CPU.
    """

    format: Format
    path: Path
    agreement: Agreement
    speeds: tuple[float, float]


def export(
    network: ExportedNetwork,
    original: Scores,
    kind: Format,
    folder: Path,
    images: Tensor,
    metadata: Metadata,
) -> Exported:
    """Writes one file, and keeps it if it gives the scores of the model.

    Args:
        network: what is written.
        original: :func:`model_scores`.
        kind: one of ``FORMATS``.
        folder: exists.
        images: (8, C, H, W) uint8 to compare with.
        metadata: goes into the file.

    Raises:
        BCE3SError: what the exporter cannot do, a package that is missing, or other scores; a file
            of the same name is then as it was.
        OSError: the folder cannot be written to.
    """
    path = folder / kind.file
    with written_whole(path) as file:
        with quiet():
            _attempt(
                kind, 'cannot be written', lambda: kind.write(network, images[:2], file, metadata)
            )
            file.flush()
            exported = _attempt(kind, 'cannot be read back', lambda: kind.load(Path(file.name)))
            found = _attempt(kind, 'does not run', lambda: agreement(original, exported, images))
        if not found.fine:
            raise BCE3SError(
                f'{kind.title}: the logits differ by up to {found.difference:.3g} where the '
                f'largest is {found.scale:.3g}, more than {TOLERANCE:g} of it: {kind.file} is not '
                'kept. Use another --format, or other versions of torch and the exporter.'
            )
        with quiet():
            speeds = (_speed(original, images), _speed(exported, images))
    return Exported(kind, path, found, speeds)


def _attempt(kind: Format, what: str, action: Any) -> Any:
    try:
        return action()
    except (BCE3SError, MemoryError, OSError):
        raise
    except Exception as error:  # an exporter can raise anything
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = f'{type(error).__name__}: {lines[0] if lines else ""}'[:300]
        raise BCE3SError(
            f'{kind.title}: {kind.file} {what} ({reason}). Use another --format, or another '
            f'version of torch ({torch.__version__} is here).'
        ) from error


@torch.no_grad()
def _speed(scores: Scores, images: Tensor) -> float:
    """Images a second, of the fastest of the batches that fit into half a second."""
    batch = images.repeat(-(-TIMED_BATCH // len(images)), 1, 1, 1)[:TIMED_BATCH]
    scores(batch)
    best, end = float('inf'), time.perf_counter() + SECONDS
    while True:
        start = time.perf_counter()
        scores(batch)
        best = min(best, time.perf_counter() - start)
        if time.perf_counter() >= end:
            return len(batch) / best
