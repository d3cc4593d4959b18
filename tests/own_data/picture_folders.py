"""Folders of small pictures, as somebody might have them."""

import numpy as np
from PIL import Image


def put(root, *names, side=8):
    """Images of these names, no two alike."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(list(str(name).encode()))
        Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).save(path)


def put_coloured(root, counts, side=16):
    """Images whose colour tells their class, name -> number of images; each a bit different."""
    for k, (name, number) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for i in range(number):
            rng = np.random.default_rng([k, i])
            pixels = np.full((side, side, 3), 60, np.uint8)
            pixels[..., k % 3] = 200
            pixels = pixels + rng.integers(0, 40, pixels.shape, np.uint8)
            Image.fromarray(pixels).save(root / name / f'{i}.png')
