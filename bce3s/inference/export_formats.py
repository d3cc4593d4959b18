"""A network into a file and back, in each of the formats that others can run."""

from __future__ import annotations

import importlib
import io
import logging
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from bce3s.errors import BCE3SError

INPUT, OUTPUT = 'images', 'logits'
OPSET = 18  # every onnxruntime since 1.14, of 2023, takes it
CHATTER = ('torch.onnx', 'torch.export', 'torch._export', 'onnxscript', 'onnx_ir')

Scores = Callable[[Tensor], Tensor]
Metadata = dict[str, str]  # name -> JSON


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


# ------------------------------------------------------------ ONNX
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
    _forget_sources(proto)
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=value)
    try:
        file.write(proto.SerializeToString())
    except ValueError as error:  # protobuf's limit
        raise BCE3SError(
            'The network is above 2 GB, more than one ONNX file holds: use --format pt2.'
        ) from error


def _forget_sources(proto: Any) -> None:
    """Without the lines of Python, and the paths of this machine, that the exporter notes."""
    graph = proto.graph
    inside = [node for function in proto.functions for node in function.node]
    named = [*graph.input, *graph.output, *graph.value_info, *graph.initializer]
    for part in [proto, graph, *proto.functions, *graph.node, *inside, *named]:
        if hasattr(part, 'metadata_props'):  # since onnx 1.16 on nodes and values
            del part.metadata_props[:]


def _load_onnx(path: Path) -> Scores:
    (runtime,) = needed('onnxruntime')
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = runtime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    return lambda images: torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])


# ------------------------------------------------------------ TorchScript
def _write_torchscript(
    network: nn.Module, example: Tensor, file: BinaryIO, metadata: Metadata
) -> None:
    if not hasattr(getattr(torch, 'jit', None), 'trace'):
        raise BCE3SError(
            f'torch {torch.__version__} has no TorchScript any more: use --format onnx pt2.'
        )
    traced, buffer = torch.jit.trace(network, (example,), check_trace=False), io.BytesIO()
    torch.jit.save(traced, buffer, _extra_files=metadata)
    # without the records of which line of Python, in which folder, each operation comes from
    with zipfile.ZipFile(buffer) as whole, zipfile.ZipFile(file, 'w') as kept:
        for record in whole.infolist():
            if not record.filename.endswith('.debug_pkl'):
                kept.writestr(zipfile.ZipInfo(record.filename), whole.read(record))


def _load_torchscript(path: Path) -> Scores:
    return torch.jit.load(str(path), map_location='cpu')


# ------------------------------------------------------------ torch.export
def _write_pt2(network: nn.Module, example: Tensor, file: BinaryIO, metadata: Metadata) -> None:
    program = torch.export.export(network, (example,), dynamic_shapes=_dynamic(), strict=False)
    for module in program.graph_module.modules():
        for node in getattr(getattr(module, 'graph', None), 'nodes', ()):
            node.meta.pop('stack_trace', None)  # paths of this machine
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
