"""Section ``decode``: images/s from JPEG files to crops of 224 x 224, on one core.

The photos are crops of the two that ship with scikit-learn (and of matplotlib's portrait, where it
is installed), of ImageNet's usual size of 500 x 375 pixels and about its 100 kB.
"""

from __future__ import annotations

import importlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from bce3s.datasets.decoding import read_centre, read_random_crop
from bce3s.datasets.image_folder import ImageFolder
from benchmarks.tables import Table
from benchmarks.timing import Options, compare, measuring, one_thread

SIZE, RESIZE = 224, 256
GPU_RATE = 3000  # images/s of ResNet-50 in bfloat16 on an H200, training; an assumption
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def run(options: Options) -> Iterator[Table]:
    """Crops from files, decoding alone by library, the loader."""
    with tempfile.TemporaryDirectory() as folder, one_thread():
        paths = write_photos(Path(folder), 4 if options.quick else 64)
        yield from _crops(paths, options)
        yield _decoders(paths, options)
        yield _loaders(folder, options)


def write_photos(root: Path, number: int) -> list[str]:
    """``root/train/CLASS/*.jpg`` and ``root/val``, the same files; the paths of the former."""
    sources, rng, paths = _sources(), np.random.default_rng(0), []
    for label in (0, 1):
        (root / f'train/{label}').mkdir(parents=True)
    (root / 'val').symlink_to('train')
    for i in range(number):
        photo = sources[i % len(sources)]
        width, height = (500, 375) if rng.random() < 0.75 else (375, 500)
        scale = rng.uniform(0.8, 1) * min(photo.width / width, photo.height / height)
        w, h = int(width * scale), int(height * scale)
        left, top = rng.integers(photo.width - w + 1), rng.integers(photo.height - h + 1)
        box = left, top, left + w, top + h
        path = root / f'train/{i % 2}/{i:03d}.jpg'
        quality, subsampling = int(rng.integers(93, 98)), int(rng.choice([0, 2]))
        resized = photo.resize((width, height), Image.Resampling.LANCZOS, box)
        resized.save(path, quality=quality, subsampling=subsampling)
        paths.append(str(path))
    return paths


def _sources() -> list[Image.Image]:
    import matplotlib
    from sklearn.datasets import load_sample_images

    photos = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    portrait = Path(matplotlib.get_data_path()) / 'sample_data/grace_hopper.jpg'
    if portrait.is_file():
        photos.append(Image.open(portrait).convert('RGB'))
    return photos


# ------------------------------------------------------------------------ whole pipelines
def _crops(paths: list[str], options: Options) -> Iterator[Table]:
    """Each of our ways against the one that is usual, for training and for the test."""
    seeds = iter(range(10**9))
    plain_train, plain_test = plain_transforms()
    pipelines = dict(
        training=(plain_train, lambda path: read_random_crop(path, SIZE, next(seeds))),
        test=(plain_test, lambda path: read_centre(path, SIZE, RESIZE)),
    )
    for name, (plain, ours) in pipelines.items():
        measuring(f'crops from files, {name}')
        seconds = _per_image(dict(plain=plain, ours=ours), paths, options)
        rates = {key: 1 / value for key, value in seconds.items()}
        table = Table(
            f'From a JPEG file to a {name} crop of {SIZE} x {SIZE}, images/s on one core',
            ('pipeline', 'images/s', 'ratio', f'cores for {GPU_RATE} images/s'),
            notes=[
                'JPEGs of 500 x 375, quality 93 to 97: crops of the photos that scikit-learn and '
                'matplotlib bring along.'
            ],
        )
        names = dict(
            plain='Pillow, torchvision transforms, ToTensor, Normalize',
            ours='ImageFolder: OpenCV, torch resize, uint8',
        )
        for key, what in names.items():
            row = what, rates[key], rates[key] / rates['plain'], GPU_RATE / rates[key]
            table.rows.append(dict(zip(table.columns, row, strict=True)))
        yield table


def plain_transforms() -> tuple[Callable[[str], torch.Tensor], Callable[[str], torch.Tensor]]:
    """A file as public code reads it, normalised float32 (3, 224, 224): in training, in the test.

    Its random numbers are torch's global ones.
    """
    from torchvision import transforms as t
    from torchvision.datasets.folder import default_loader

    end = [t.ToTensor(), t.Normalize(MEAN, STD)]
    train = t.Compose([t.RandomResizedCrop(SIZE), t.RandomHorizontalFlip(), *end])
    test = t.Compose([t.Resize(RESIZE), t.CenterCrop(SIZE), *end])
    return lambda path: train(default_loader(path)), lambda path: test(default_loader(path))


def _per_image(
    functions: dict[str, Callable[[str], object]], paths: list[str], options: Options
) -> dict[str, float]:
    """Seconds an image of each function of a path."""

    def over_all(function: Callable[[str], object]) -> None:
        for path in paths:
            function(path)

    passes = {name: partial(over_all, function) for name, function in functions.items()}
    timings = compare(passes, options, warmup=1)
    return {name: timing.median / len(paths) for name, timing in timings.items()}


# ------------------------------------------------------------------------ decoders
def _decoders(paths: list[str], options: Options) -> Table:
    """The whole image, decoded to RGB or BGR uint8."""
    measuring('decoders')
    found = {name: reader for name, make in DECODERS.items() if (reader := _installed(make))}
    seconds = _per_image(found, paths, options)
    table = Table(
        'A whole JPEG of 500 x 375 to uint8 pixels, by library, on one core',
        ('library', 'images/s', 'ratio'),
        notes=[f'Not installed: {", ".join(missing)}.']
        if (missing := [name for name in DECODERS if name not in found])
        else [],
    )
    for name, value in seconds.items():
        row = name, 1 / value, seconds['Pillow'] / value
        table.rows.append(dict(zip(table.columns, row, strict=True)))
    return table


def _bytes(path: str) -> bytes:
    with open(path, 'rb', buffering=0) as file:
        return file.read()


def _pillow() -> Callable[[str], Any]:
    return lambda path: np.asarray(Image.open(path))


def _opencv(reduced: bool = False) -> Callable[[str], Any]:
    cv2 = importlib.import_module('cv2')
    flag = cv2.IMREAD_REDUCED_COLOR_2 if reduced else cv2.IMREAD_COLOR
    return lambda path: cv2.imdecode(np.frombuffer(_bytes(path), np.uint8), flag)


def _torchvision() -> Callable[[str], Any]:
    read = importlib.import_module('torchvision.io')
    return lambda path: read.decode_jpeg(read.read_file(path), mode=read.ImageReadMode.RGB)


def _simplejpeg() -> Callable[[str], Any]:
    decode = importlib.import_module('simplejpeg').decode_jpeg
    return lambda path: decode(_bytes(path))


def _turbojpeg() -> Callable[[str], Any]:
    decode = importlib.import_module('turbojpeg').TurboJPEG().decode
    return lambda path: decode(_bytes(path))


def _imagecodecs() -> Callable[[str], Any]:
    decode = importlib.import_module('imagecodecs').jpeg8_decode
    return lambda path: decode(_bytes(path))


def _torchcodec() -> Callable[[str], Any]:
    decode = importlib.import_module('torchcodec.decoders').decode_jpeg
    return lambda path: decode(_bytes(path))


DECODERS: dict[str, Callable[[], Callable[[str], Any]]] = {
    'Pillow': _pillow,
    'OpenCV': _opencv,
    'OpenCV, half the size': partial(_opencv, reduced=True),
    'torchvision': _torchvision,
    'simplejpeg': _simplejpeg,
    'PyTurboJPEG': _turbojpeg,
    'imagecodecs': _imagecodecs,
    'torchcodec': _torchcodec,
}


def _installed(make: Callable[[], Callable[[str], Any]]) -> Callable[[str], Any] | None:
    """The decoder, or None where the library, or a system library that it needs, is missing."""
    try:
        return make()
    except (ImportError, OSError, RuntimeError, AttributeError):
        return None


# ------------------------------------------------------------------------ the loader
def _loaders(folder: str, options: Options) -> Table:
    """Batches of 32 in the main process; the start of the workers is not counted."""
    dataset = ImageFolder(folder, size=SIZE, resize=RESIZE)
    table = Table(
        'ImageFolder through a DataLoader, images/s',
        ('workers', 'images/s'),
        notes=[f'{os.cpu_count()} cores; a worker takes one, the main process a little of one.'],
    )
    for workers in (0, 1, 2):
        measuring(f'the loader with {workers} workers')
        table.rows.append({'workers': workers, 'images/s': _loader_rate(dataset, workers, options)})
    return table


def _loader_rate(dataset: ImageFolder, workers: int, options: Options) -> float:
    size = 2 if options.quick else 32
    batches = 4 if options.quick else max(10, round(options.seconds * 1000 / size))
    sampler = torch.arange(size * batches).remainder(len(dataset)).view(batches, size).tolist()
    loader = iter(DataLoader(dataset, batch_sampler=sampler, num_workers=workers))
    next(loader)
    start = time.perf_counter()
    number = sum(len(batch['inputs']) for batch in loader)
    return number / (time.perf_counter() - start)
