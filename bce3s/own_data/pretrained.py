"""A file of pretrained weights for the backbone, and which network it is of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bce3s.engine.checkpoint import load_from_disk
from bce3s.errors import BCE3SError

FIRST = 'layer1.0.conv1.weight'
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
        return dict(type='Pretrained', checkpoint=str(path)), (
            name if name in RESNETS.values() else None
        )
    file = Path(path).expanduser().resolve()
    saved = load_from_disk(file)
    names = saved.get('state_dict', saved).keys()
    prefix = next((name for name in names if name.endswith(FIRST)), FIRST).removesuffix(FIRST)
    blocks = sum(f'{prefix}layer3.{i}.conv1.weight' in names for i in range(100))
    network = RESNETS.get((blocks, f'{prefix}layer1.0.conv3.weight' in names))
    if network is None:
        raise BCE3SError(
            f'own_data.pretrained={path}: these are not the weights of a ResNet-18, 34 or 50. Set '
            'model.backbone and its init_cfg instead.'
        )
    init_cfg = dict(type='Pretrained', checkpoint=str(file))
    if prefix := prefix.removeprefix('module.'):
        init_cfg['prefix'] = prefix
    return init_cfg, network
