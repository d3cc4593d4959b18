"""A file of pretrained weights for the backbone, and which network it is of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bce3s.errors import BCE3SError

PREFIXES = ('', 'module.', 'backbone.', 'module.backbone.')
# blocks of the third stage, whether they have three convolutions -> name
RESNETS = {(2, False): 'resnet18', (6, False): 'resnet34', (6, True): 'resnet50'}


def init_cfg_of(path: str | None) -> tuple[dict[str, Any] | None, str | None]:
    """``init_cfg`` of the backbone, and the network that the weights are of (a key of
    ``NETWORKS``); None and None without a ``path``. An address such as ``torchvision://resnet50``
    is taken as it is.

    Raises:
        BCE3SError: no such file, no file of weights, or not those of a ResNet-18, 34 or 50.
    """
    if not path:
        return None, None
    if '://' in str(path):
        name = str(path).rsplit('/', 1)[-1]
        known = name if name in RESNETS.values() else None
        return dict(type='Pretrained', checkpoint=str(path)), known
    names = _names(Path(path).expanduser())
    for prefix in PREFIXES:
        if f'{prefix}layer1.0.conv1.weight' in names:
            break
    else:
        raise BCE3SError(
            f'own_data.pretrained={path}: these are not the weights of a ResNet (no '
            'layer1.0.conv1.weight). Set model.backbone and its init_cfg instead.'
        )
    blocks = sum(f'{prefix}layer3.{i}.conv1.weight' in names for i in range(100))
    network = RESNETS.get((blocks, f'{prefix}layer1.0.conv3.weight' in names))
    if network is None:
        raise BCE3SError(
            f'own_data.pretrained={path}: these are weights of a ResNet with {blocks} blocks in '
            'its third stage; known are ResNet-18, 34 and 50. Set model.backbone and its init_cfg '
            'instead.'
        )
    init_cfg = dict(type='Pretrained', checkpoint=str(Path(path).expanduser().resolve()))
    if prefix.endswith('backbone.'):
        init_cfg['prefix'] = 'backbone.'
    return init_cfg, network


def _names(path: Path) -> set[str]:
    """The names of the weights in a file."""
    from bce3s.engine.checkpoint import load_from_disk

    try:
        saved = load_from_disk(path)
    except BCE3SError as error:
        raise BCE3SError(f'own_data.pretrained: {error}') from error
    return set(saved.get('state_dict', saved))
