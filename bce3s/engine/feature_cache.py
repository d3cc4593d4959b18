"""Features of a frozen network on the disk, each image's once: by the content of its file, the
network's weights and what is done to an image before.

``FOLDER/<key of the network>/<number>.safetensors`` holds what was embedded at a time: ``keys``
(n, 32) uint8 and ``features`` (n, d). Files are written whole or not at all and never changed. All
of it may be deleted at any time.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import numpy as np
from mmengine.logging import print_log
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from bce3s.files import reason, written_whole

VERSION = 1  # of the files and of how features are made: others are not looked at
Key = bytes  # of an image, 32 of them


def cache_folder() -> Path:
    """``$BCE3S_CACHE``, or ``bce3s`` below ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if named := os.environ.get('BCE3S_CACHE'):
        return Path(named).expanduser()
    base = os.environ.get('XDG_CACHE_HOME') or Path('~/.cache').expanduser()
    return Path(base) / 'bce3s'


class FeatureCache:
    """The features that one network gave.

    Args:
        network: a key of all that they depend on besides the image.
        folder: None: :func:`cache_folder`.

    Attributes:
        folder: of this network.
        found: image's key -> (d,) float32.
    """

    def __init__(self, network: str, folder: Path | None = None) -> None:
        self.folder = (folder or cache_folder()) / f'features_v{VERSION}' / network
        self.found: dict[Key, np.ndarray] = {}
        self._writing = True
        for path in sorted(self.folder.glob('*.safetensors')):
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            held = load_file(path)
            keys, features = held['keys'], held['features']
            if keys.shape != (len(features), 32) or not np.isfinite(features).all():
                raise ValueError('keys and features do not fit')
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            print_log(f'{path} is damaged ({error}): its images are embedded again.', 'current', 30)
            return
        self.found.update(zip(map(bytes, keys), features, strict=True))

    def add(self, keys: list[Key], features: np.ndarray, write: bool = True) -> None:
        """Remembers and writes features (n, d) float32. Where the disk is full, or must not be
        written to, this is said once and they are remembered only.
        """
        self.found.update(zip(keys, features, strict=True))
        if not (write and self._writing and keys):
            return
        held = dict(keys=np.frombuffer(b''.join(keys), np.uint8).reshape(-1, 32), features=features)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with written_whole(self.folder / f'{uuid.uuid4().hex}.safetensors') as file:
                file.write(save(held))
        except OSError as error:
            self._writing = False
            print_log(
                f'Features are not kept on the disk ({reason(error)}): another run embeds the '
                'images again. BCE3S_CACHE=FOLDER names another folder.',
                'current',
                30,
            )
