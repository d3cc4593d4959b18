"""A frozen network sees each image once: its features take the images' place in the loaders."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, all_reduce, get_rank, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from bce3s.datasets.image_files import ImageFiles
from bce3s.datasets.vectors import HasVectors
from bce3s.engine.feature_cache import FeatureCache, Key
from bce3s.engine.run_state import bare_model
from bce3s.errors import BCE3SError
from bce3s.processes import cores
from bce3s.registry import HOOKS
from bce3s.wording import counted

VIEWS = ('origin', 'flip')  # and crop1, crop2, ... of images in files
CHUNK, BATCH = 512, 64  # images that are written at a time, that the network sees at a time
EVERY = 20  # seconds between two lines of the log


@HOOKS.register_module()
class FrozenFeaturesHook(Hook):
    """Before a training, a validation or a test all images are embedded that were not before
    (:class:`~bce3s.engine.feature_cache.FeatureCache`), and the model gets features in their place.

    Args:
        views: of a training image, of which a step draws one: ``'origin'``; ``'flip'``;
            ``'crop1'``, ``'crop2'``, ...: of images in files random crops as in a training of the
            whole network.

    Raises:
        BCE3SError: (before a training) a backbone that is trained, augmentations or views that need
            images, or data that are no images of ours.
    """

    priority = 'HIGH'

    def __init__(self, views: Sequence[str] = ('origin',)) -> None:
        self.views = tuple(views)
        for view in self.views:
            if view not in VIEWS and not (view.startswith('crop') and view[4:].isdigit()):
                raise BCE3SError(
                    f"FrozenFeaturesHook: there is no view {view!r}: use 'origin', 'flip', "
                    "'crop1', 'crop2', ..."
                )
        if self.views[:1] != ('origin',):
            raise BCE3SError("FrozenFeaturesHook: the first of 'views' is 'origin'.")

    def before_train(self, runner: Runner) -> None:
        model, dataset = bare_model(runner), runner.train_dataloader.dataset
        _check(model)
        embed(model, dataset, self.views)
        if hasattr(model.neck, 'set_mean') and runner.iter == 0:
            model.neck.set_mean(dataset.vectors[:, 0].to(model.neck.mean.device))

    def before_val(self, runner: Runner) -> None:
        embed(bare_model(runner), runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        embed(bare_model(runner), runner.test_dataloader.dataset)


def _check(model: nn.Module) -> None:
    preprocessor = model.data_preprocessor
    if not getattr(model.backbone, 'frozen', False):
        raise BCE3SError(
            'FrozenFeaturesHook keeps the features of a network that nothing changes: set '
            "model.backbone.type='TimmBackbone' with train=None, or take the hook out."
        )
    if preprocessor.augment or preprocessor.views or model.flip_tta:
        raise BCE3SError(
            'With FrozenFeaturesHook the model sees features, so that model.data_preprocessor has '
            'no augment and no views and model.flip_tta is False; views are an option of the hook.'
        )


# ------------------------------------------------------------------------------------ embedding
def embed(model: nn.Module, dataset: Dataset, views: Sequence[str] = ('origin',)) -> None:
    """Sets ``dataset.vectors`` (N, V, d) float32, features of each image in V views; and nothing
    where they are there.

    Args:
        model: with a frozen backbone; it is in eval mode while it embeds.
        dataset: :class:`~bce3s.datasets.vectors.HasVectors`.

    Raises:
        BCE3SError: another data set.
    """
    if not isinstance(dataset, HasVectors):
        raise BCE3SError(
            f'The features of {type(dataset).__name__} cannot be kept: it is neither one of the '
            'data sets of images in files nor one of those in memory.'
        )
    if dataset.vectors is not None:
        return
    cache = FeatureCache(_key_of(model, dataset))
    contents = dataset.content_keys()
    wanted = {
        _key(content, view): (i, view) for view in views for i, content in enumerate(contents)
    }
    missing = {key: where for key, where in wanted.items() if key not in cache.found}
    unread = _embed_missing(model, dataset, missing, cache) if missing else {}
    vectors = torch.zeros(len(contents), len(views), model.backbone.out_features)
    failed = {}
    for index, content in enumerate(contents):
        for view, name in enumerate(views):
            key = _key(content, name)
            if key in unread:
                failed[index] = unread[key]
            else:
                vectors[index, view] = torch.from_numpy(cache.found[key])
    dataset.set_vectors(vectors, failed)


def embedded(model: nn.Module, dataset: Dataset) -> Dataset:
    """A copy of the data set that gives features; the data set itself where it cannot."""
    if not isinstance(dataset, HasVectors):
        return dataset
    dataset = copy(dataset)
    embed(model, dataset)
    return dataset


def _embed_missing(
    model: nn.Module,
    dataset: HasVectors,
    missing: dict[Key, tuple[int, str]],
    cache: FeatureCache,
) -> dict[Key, str]:
    """Adds to ``cache``; why an image could not be read."""
    started = told = time.monotonic()
    training, unread, keys = model.training, {}, list(missing)
    model.eval()
    print_log(
        f'Embedding {counted(len(keys), "image")} of {dataset.metainfo["dataset"]} '
        f'({dataset.metainfo["split"]}) once; kept in {cache.folder}.',
        'current',
    )
    try:
        for first in range(0, len(keys), CHUNK):
            chunk = keys[first : first + CHUNK]
            features, errors = _shared(model, dataset, [missing[key] for key in chunk])
            unread |= {chunk[i]: error for i, error in errors.items()}
            good = [i for i in range(len(chunk)) if i not in errors]
            cache.add([chunk[i] for i in good], features[good], write=is_main_process())
            done, now = first + len(chunk), time.monotonic()
            if now - told > EVERY:
                left = (now - started) / done * (len(keys) - done)
                print_log(f'{done:,} of {len(keys):,}, about {left:.0f} s left', 'current')
                told = now
    finally:
        model.train(training)
    print_log(f'Embedded in {time.monotonic() - started:.0f} s.', 'current')
    return unread


def _shared(
    model: nn.Module, dataset: HasVectors, chunk: list[tuple[int, str]]
) -> tuple[np.ndarray, dict[int, str]]:
    """Features (n, d) of a chunk, each process a part of it; and why images could not be read, by
    their positions, whose rows are 0.
    """
    rank, world = get_rank(), get_world_size()
    size = -(-len(chunk) // world)
    device = next(model.parameters()).device
    features = torch.zeros(len(chunk), model.backbone.out_features, device=device)
    errors: dict[int, str] = {}
    first = min(rank * size, len(chunk))
    for places, found, why in _batches(model, dataset, chunk[first : first + size]):
        features[[first + place for place in places]] = found
        errors |= {first + place: error for place, error in why.items()}
    if world > 1:
        all_reduce(features)
        parts = all_gather_object(errors)
        errors = {place: error for part in parts for place, error in part.items()}
    return features.cpu().numpy(), errors


@torch.no_grad()
def _batches(
    model: nn.Module, dataset: HasVectors, chunk: Sequence[tuple[int, str]]
) -> Iterator[tuple[list[int], Tensor, dict[int, str]]]:
    device = next(model.parameters()).device
    loader = DataLoader(
        _Pixels(dataset, chunk),
        batch_size=BATCH,
        num_workers=min(8, cores())
        if device.type == 'cuda' and isinstance(dataset, ImageFiles)
        else 0,
        collate_fn=_readable,
        generator=torch.Generator(),  # or the loop would draw from torch's global one
    )
    for places, images, errors in loader:
        if images is None:
            yield [], torch.zeros(0, model.backbone.out_features, device=device), errors
            continue
        data = model.data_preprocessor(dict(inputs=images, data_samples={}), training=False)
        features = model.extract_feat(data['inputs'], stage='backbone')
        yield places, features[-1] if isinstance(features, tuple | list) else features, errors


class _Pixels(Dataset):
    def __init__(self, dataset: HasVectors, chunk: Sequence[tuple[int, str]]) -> None:
        self.dataset, self.chunk = dataset, chunk

    def __len__(self) -> int:
        return len(self.chunk)

    def __getitem__(self, at: int) -> tuple[int, Tensor | str]:
        try:
            return at, self.dataset.pixels(*self.chunk[at])
        except BCE3SError as error:
            return at, str(error)


def _readable(
    read: list[tuple[int, Tensor | str]],
) -> tuple[list[int], Tensor | None, dict[int, str]]:
    good = [(at, image) for at, image in read if isinstance(image, Tensor)]
    errors = {at: error for at, error in read if isinstance(error, str)}
    images = torch.stack([image for _, image in good]) if good else None
    return [at for at, _ in good], images, errors


def _key(content: bytes, view: str) -> Key:
    return hashlib.sha256(content + view.encode()).digest()


def _key_of(model: nn.Module, dataset: HasVectors) -> str:
    """Of the network's weights and precision, and of what is done to an image before."""
    preprocessor, digest = model.data_preprocessor, hashlib.sha256()
    device = next(model.parameters()).device
    settings: dict[str, Any] = dict(
        kind=type(model.backbone).__name__,
        size=getattr(model.backbone, 'size', None),
        dtype=str(model.dtype(device)),
        mean=preprocessor.mean.flatten().tolist(),
        std=preprocessor.std.flatten().tolist(),
        pad=preprocessor.pad,
        pixels=dataset.pixel_settings,
    )
    digest.update(repr(sorted(settings.items())).encode())
    for name, value in model.backbone.state_dict().items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value.cpu().float().numpy()).tobytes())
    return digest.hexdigest()[:24]
