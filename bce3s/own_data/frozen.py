"""Settings for somebody's own images on a pretrained network of timm, frozen or lightly trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bce3s.models.backbones.timm_backbone import facts_of_name
from bce3s.own_data.settings import Facts, Settings, choose

DEFAULT = 'tf_efficientnet_lite0.in1k'  # where its weights are on this machine
SMALL = 100  # pixels a side, median, below which nothing is cropped
STEPS = 1_500  # of the first stage on features, about
FEW = 5_000  # images, up to which they are embedded mirrored, too
LENGTH = (15, 60)  # epochs of it
TUNED = 10  # epochs of the first stage where a part of the network is trained
OF_HEAD = dict(blocks=0.05, all=0.02)  # the network's rate, as a share of the head's; others 0.2
DECAY = 0.75  # of it from each of the network's layers to the one before


def choose_frozen(
    facts: Facts, fixed: dict[str, Any], name: str, tuned: bool
) -> tuple[Settings, dict[str, Any]]:
    """The settings, and what timm says of the network
    (:func:`~bce3s.models.backbones.timm_backbone.facts_of_name`).

    Without a GPU images are embedded at 5/7 of the network's size, 160 in the place of 224, where
    it takes any: half of the time.

    Args:
        facts: of the images.
        fixed: ``size``, ``batch_size``, ``epochs`` of ``own_data``.
        name: of the network.
        tuned: whether a part of it is trained, on images.

    Raises:
        BCE3SError: an unknown network, or a number below 1.
    """
    size = fixed.get('size')
    network = facts_of_name(name, size)
    if size is None and facts.device == 'cpu' and not network['fixed']:
        network['size'] = round(network['size'] * 5 / 7 / 32) * 32
    base = choose(facts, fixed | dict(size=network['size'], network='resnet18'), True)
    crop = 1.0 if facts.side < SMALL else network['crop_pct']
    settings = replace(
        base,
        network=name,
        resize=round(network['size'] / crop),
        random_crop=tuned and facts.side >= SMALL,
        resample=1.0,
        lr=0.05,
        finetune_lr=0.05,
    )
    if tuned:
        epochs = fixed.get('epochs') or TUNED
        shifts = dict(type='BatchPadCrop', padding=network['size'] // 8), dict(type='BatchFlip')
        augment = settings.augment if settings.random_crop else [*shifts]
        settings = replace(settings, epochs=epochs, augment=augment)
        return replace(settings, finetune_epochs=-(-epochs // 3)), network
    plan = head_schedule(facts.images, fixed.get('batch_size'), fixed.get('epochs'))
    return replace(settings, **vars(plan), beta=0.9999, augment=[]), network


@dataclass(frozen=True)
class Plan:
    """``batch_size``, and ``epochs`` and ``finetune_epochs`` of the two stages."""

    batch_size: int
    epochs: int
    finetune_epochs: int


def head_schedule(images: int, batch_size: int | None = None, epochs: int | None = None) -> Plan:
    """Of a head on features: about ``STEPS`` steps in the first stage, within ``LENGTH`` epochs."""
    batch_size = batch_size or (64 if images < FEW else 256)
    epochs = epochs or min(LENGTH[1], max(LENGTH[0], STEPS * batch_size // images))
    return Plan(batch_size, epochs, -(-epochs // 3))


def fill_frozen(
    cfg: Any, network: Mapping[str, Any], settings: Settings, facts: Facts, options: Mapping
) -> None:
    """Sets backbone, neck and head, and for a network that is trained in part what follows."""
    model, train = cfg.model, options.get('train')
    model.backbone = dict(
        type='TimmBackbone',
        name=settings.network,
        weights=options.get('weights'),
        **({} if train is None else dict(train=train)),
        **network['options'],
    )
    model.data_preprocessor.update(
        mean=network['mean'], std=network['std'], augment=settings.augment
    )
    model.neck.in_channels = network['features']
    model.head.update(num_classes=facts.classes, in_channels=network['features'])
    if 'beta' in model.head:
        model.head.beta = settings.beta
    if train is None and facts.images < FEW:
        cfg.custom_hooks[0].views = ['origin', 'flip']
    elif train is not None:
        cfg.custom_hooks = []
        model.neck.momentum = 0.1
        share = OF_HEAD.get(next(iter(train)) if isinstance(train, Mapping) else train, 0.2)
        cfg.optim_wrapper.constructor = 'LayerwiseRates'
        cfg.optim_wrapper.paramwise_cfg = dict(
            custom_keys=dict(backbone=dict(lr_mult=share, decay_mult=0.01)), layer_decay=DECAY
        )
