"""A trained network as a file that runs without this package, checked to give the same scores."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bce3s.engine.run_directory import RunDirectory
from bce3s.errors import BCE3SError
from bce3s.files import written_whole
from bce3s.models.backbones.light_tuning import merged

INPUT, OUTPUT = 'images', 'logits'
TOLERANCE = 1e-4  # of the largest |logit|
BATCHES = (1, 7)
OPSET = 18  # every onnxruntime since 1.14, of 2023, takes it
CHATTER = ('torch.onnx', 'torch.export', 'torch._export', 'onnxscript', 'onnx_ir')

Scores = Callable[[Tensor], Tensor]
Metadata = dict[str, str]  # name -> JSON


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
        self.pad, self.embed = preprocessor.pad, classifier.embed
        self.register_buffer('mean', preprocessor.mean.detach().clone())
        self.register_buffer('std', preprocessor.std.detach().clone())
        backbone = merged(copy.deepcopy(model.backbone))
        self.backbone = backbone.to(memory_format=torch.contiguous_format)
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
        return self.linear(self.embed(x))


def float32_model(run: RunDirectory) -> tuple[nn.Module, dict[str, Any]]:
    """The model of a run on the CPU, its backbone in float32 and not compiled, and the
    checkpoint's ``meta``.

    Raises:
        BCE3SError: as :func:`~bce3s.engine.run_directory.load_model`; a config of another version.
    """
    config = copy.deepcopy(run.config)
    if 'compile' in config.model:
        config.model.compile = False
    model, meta = dataclasses.replace(run, config=config).model()
    if hasattr(model, 'precision'):
        model.precision = 'fp32'
    return model.cpu().requires_grad_(False), meta


def model_scores(model: nn.Module) -> Scores:
    """Images to logits the way that the package itself takes in an evaluation."""

    def scores(images: Tensor) -> Tensor:
        batch = model.data_preprocessor(dict(inputs=images, data_samples={}), training=False)
        return model.head(model.features(batch['inputs']))

    return scores


# ----------------------------------------------------------------------------------------- formats
@dataclass(frozen=True)
class Format:
    """One kind of file.

    Attributes:
        name: on the command line.
        file: its name.
        title: in texts.
        write: network, example (N, C, H, W), open file, metadata -> None.
        load: path -> images to logits, on the CPU.
    """

    name: str
    file: str
    title: str
    write: Callable[[nn.Module, Tensor, BinaryIO, Metadata], None]
    load: Callable[[Path], Scores]


@contextmanager
def quiet() -> Iterator[None]:
    """Without what exporters tell of their own insides, and of what will be theirs one day."""
    loggers = [logging.getLogger(name) for name in CHATTER]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _dynamic() -> dict[str, Any]:
    return {INPUT: {0: torch.export.Dim('N', min=1)}}


def needed(*names: str) -> list[Any]:
    """The modules of that name.

    Raises:
        BCE3SError: one of them is not installed.
    """
    try:
        return [importlib.import_module(name) for name in names]
    except ImportError as error:
        raise BCE3SError(
            f'ONNX files need onnx, onnxscript and onnxruntime, and {error.name or error} is not '
            'there: pip install onnx onnxscript onnxruntime (or use --format torchscript pt2).'
        ) from error


def _write_onnx(network: nn.Module, example: Tensor, file: BinaryIO, metadata: Metadata) -> None:
    needed('onnx', 'onnxscript', 'onnxruntime')  # the last one for the check
    program = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        verbose=False,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=_dynamic(),
    )
    proto = program.model_proto
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=value)
    try:
        file.write(proto.SerializeToString())
    except ValueError as error:  # protobuf's limit
        raise BCE3SError(
            'The network is above 2 GB, more than one ONNX file holds: use --format pt2.'
        ) from error


def _load_onnx(path: Path) -> Scores:
    (runtime,) = needed('onnxruntime')
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = runtime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    return lambda images: torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])


def _write_torchscript(
    network: nn.Module, example: Tensor, file: BinaryIO, metadata: Metadata
) -> None:
    if not hasattr(getattr(torch, 'jit', None), 'trace'):
        raise BCE3SError(
            f'torch {torch.__version__} has no TorchScript any more: use --format onnx pt2.'
        )
    traced, buffer = torch.jit.trace(network, (example,), check_trace=False), io.BytesIO()
    torch.jit.save(traced, buffer, _extra_files=metadata)
    file.write(buffer.getvalue())


def _load_torchscript(path: Path) -> Scores:
    return torch.jit.load(str(path), map_location='cpu')


def _write_pt2(network: nn.Module, example: Tensor, file: BinaryIO, metadata: Metadata) -> None:
    program = torch.export.export(network, (example,), dynamic_shapes=_dynamic(), strict=False)
    torch.export.save(program, file, extra_files=metadata)


def _load_pt2(path: Path) -> Scores:
    with path.open('rb') as file:
        return torch.export.load(file).module()


FORMATS = {
    kind.name: kind
    for kind in (
        Format('onnx', 'model.onnx', 'ONNX', _write_onnx, _load_onnx),
        Format('torchscript', 'model.ts', 'TorchScript', _write_torchscript, _load_torchscript),
        Format('pt2', 'model.pt2', 'torch.export', _write_pt2, _load_pt2),
    )
}


# --------------------------------------------------------------------------------------- the check
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
                'earlier checkpoint.'
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
    """

    format: Format
    path: Path
    agreement: Agreement


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
    return Exported(kind, path, found)


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
