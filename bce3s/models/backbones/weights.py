"""Files of weights to start from."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from bce3s.errors import BCE3SError


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name: of a ``.safetensors`` file, or of one by ``torch.save``, at its top or under
    ``model`` or ``state_dict``. No code in it is run.

    Raises:
        BCE3SError: no such file, or none of these.
    """
    path = Path(path).expanduser()
    try:
        if path.suffix == '.safetensors':
            from safetensors.torch import load_file

            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):  # MAE's own arguments
            found = torch.load(path, map_location='cpu', weights_only=True)
        for key in ('model', 'state_dict'):
            found = found.get(key, found)
    except Exception as error:  # the content of a file can be anything
        raise BCE3SError(
            f'{path}: these weights to start from cannot be read ({type(error).__name__}).'
        ) from error
    return found
