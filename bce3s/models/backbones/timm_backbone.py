"""A network of timm as a backbone, by its name: pooled by timm, frozen or partly trained."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bce3s.errors import BCE3SError
from bce3s.models.backbones.light_tuning import tune
from bce3s.models.backbones.weights import read_weights
from bce3s.registry import MODELS

PRETRAINED = 'pretrained'


@MODELS.register_module()
class TimmBackbone(nn.Module):
    """Images (B, C, H, W) -> features (B, d), by ``timm.create_model(name, num_classes=0)``.

    Args:
        name: timm's, with or without the tag of its weights: ``tf_efficientnet_lite0.in1k``,
            ``vit_small_patch14_dinov2.lvd142m``, ``vit_base_patch16_clip_224.openai``.
        weights: a file of them, as timm or its Hub has it; ``'pretrained'``, those of the Hub;
            None: random ones. They are read when a training begins: what has a checkpoint needs no
            file.
        train: what is trained, see :func:`~.light_tuning.tune`: None, nothing; ``dict(blocks=2)``,
            the last blocks; ``dict(lora=8)``; ``dict(adapter=16)``; ``'all'``. Statistics of
            normalisation layers stay as they are but with ``'all'``.
        size: H = W to which images are resized first, by the filter that timm names for this
            network; None: they come in the network's size.
        options: of ``timm.create_model``, such as ``img_size`` of a Vision Transformer.

    Attributes:
        out_features: d. frozen: whether nothing is trained, so that features may be kept
            (:mod:`bce3s.engine.embedding`).

    Raises:
        BCE3SError: timm is not installed, does not know the name, or has no such option; the
            network gives tokens or maps, not one vector an image; (``init_weights``) weights that
            are missing, cannot be fetched, or are those of another network.
    """

    def __init__(
        self,
        name: str,
        weights: str | None = None,
        train: str | Mapping[str, int] | None = None,
        size: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        timm = timm_or_sentence()
        self.name, self.weights, self.size = name, weights, size
        known_name(name)
        try:
            self.net = timm.create_model(name, pretrained=False, num_classes=0, **options)
        except (TypeError, ValueError, AssertionError, RuntimeError) as error:
            raise BCE3SError(f'TimmBackbone: {name} cannot be built ({error}).') from error
        self.out_features = features_of(self.net)
        self.interpolation = data_config(self.net)['interpolation']
        self.frozen, self._whole = train is None, train == 'all'
        self._layers: dict[str, int] = {}
        tune(self.net, train)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """The features, as a tuple of one, mmpretrain's form."""
        if self.size is not None and images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(images, size=(self.size, self.size), mode=self.interpolation)
        try:
            features = self.net(images)
        except AssertionError as error:  # a Vision Transformer checks its input's size
            raise BCE3SError(
                f'TimmBackbone: {self.name} does not take images of {tuple(images.shape[-2:])} '
                f'pixels ({error}): give model.backbone.img_size, or size.'
            ) from error
        if not isinstance(features, Tensor) or features.dim() != 2:
            shape = tuple(features.shape) if isinstance(features, Tensor) else type(features)
            raise BCE3SError(
                f'TimmBackbone: {self.name} gives {shape} for images {tuple(images.shape)}, not '
                'one vector an image: give model.backbone.global_pool, or another network.'
            )
        return (features,)

    def train(self, mode: bool = True) -> TimmBackbone:
        """Statistics, dropout and depth are those of the evaluation, unless all is trained."""
        super().train(mode)
        if not self._whole:
            self.net.eval()
        return self

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Number of a parameter's layer, by timm's grouping, and of all layers; the last is the
        head.
        """
        if not self._layers:
            groups = timm_or_sentence().models.group_parameters(
                self.net, self.net.group_matcher(coarse=False)
            )
            self._layers = {name: layer for layer, names in groups.items() for name in names}
        name = param_name.removeprefix(prefix).removeprefix('net.')
        return self._layers[name], max(self._layers.values()) + 2

    def init_weights(self) -> None:
        """Read the weights, as a training does at its beginning."""
        if self.weights is None:
            return
        state = self._fetched() if self.weights == PRETRAINED else self._read()
        module = sys.modules[type(self.net).__module__]
        rename = getattr(module, 'checkpoint_filter_fn', None)
        tuned = {key for key, _ in self.net.named_parameters()}
        try:
            if rename is not None:
                state = rename(state, self.net)
            state = _where_tuned(state, tuned)
            missing, unexpected = self.net.load_state_dict(state, strict=False)
        except (RuntimeError, KeyError, AttributeError, ValueError) as error:
            raise self._of_another(str(error).splitlines()[-1].strip()) from error
        own = [key for key in missing if '.lora_' not in key and '.adapter.' not in key]
        heads = self.net.pretrained_cfg.get('classifier') or ()
        heads = (heads,) if isinstance(heads, str) else tuple(heads)
        strange = [key for key in unexpected if not key.startswith((*heads, 'head.', 'fc_norm.'))]
        if own or len(strange) > len(state) // 2:
            first = f'{own[0]} is missing' if own else f'{strange[0]} is not of it'
            raise self._of_another(first)

    def _read(self) -> dict[str, Tensor]:
        if not Path(self.weights).expanduser().is_file():
            raise BCE3SError(
                f'model.backbone.weights={self.weights}: there is no such file. '
                f'{how_to_fetch(self)}'
            )
        return read_weights(self.weights)

    def _fetched(self) -> dict[str, Tensor]:
        timm = timm_or_sentence()
        try:
            with_head = timm.create_model(
                self.name, pretrained=True, num_classes=0, **self._shape()
            )
        except Exception as error:  # whatever a network, a disk or the Hub can do
            raise BCE3SError(
                f'The weights of {self.name} could not be fetched ({type(error).__name__}). '
                f'{how_to_fetch(self)}'
            ) from error
        return with_head.state_dict()

    def _shape(self) -> dict[str, Any]:
        embed = getattr(self.net, 'patch_embed', None)
        size = getattr(embed, 'img_size', None)
        return {} if size is None else dict(img_size=size)

    def _of_another(self, why: str) -> BCE3SError:
        return BCE3SError(
            f'{self.weights}: these are not the weights of {self.name} ({why}). Give those of this '
            'network, or the name of the network that they are of.'
        )


def _where_tuned(state: Mapping[str, Tensor], own: set[str]) -> dict[str, Tensor]:
    """By the names that layers have once something was put beside them."""
    moved = {}
    for key, value in state.items():
        stem, _, leaf = key.rpartition('.')
        inner = f'{stem}.parametrizations.{leaf}.original'
        wrapped = key.replace('.mlp.', '.mlp.inner.')
        moved[inner if inner in own else wrapped if wrapped in own else key] = value
    return moved


def how_to_fetch(backbone: TimmBackbone) -> str:
    """What to fetch where, and where to put it."""
    config = backbone.net.pretrained_cfg
    source, kind = config.get('hf_hub_id'), 'model.safetensors'
    where = f'{kind} of {source} on the Hugging Face Hub' if source else config.get('url')
    if not where:
        return f'timm has no weights of {backbone.name}: give a file.'
    return (
        f'On a machine with a network fetch {where}, put the file anywhere here, and give it: '
        '--weights FILE (of a config model.backbone.weights=FILE).'
    )


# ------------------------------------------------------------------------------- what timm says
def timm_or_sentence() -> Any:
    """The package, imported.

    Raises:
        BCE3SError: it is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise BCE3SError('TimmBackbone needs timm: pip install timm.') from error
    return timm


def known_name(name: str) -> None:
    """
    Raises:
        BCE3SError: timm has no such network; the nearest names.
    """
    timm = timm_or_sentence()
    stem, _, tag = name.partition('.')
    if timm.is_model(stem):
        tags = [each.partition('.')[2] for each in timm.list_pretrained(f'{stem}.*')]
        if tag and tag not in tags:
            raise BCE3SError(
                f'TimmBackbone: timm {timm.__version__} has no weights {tag!r} of {stem}; it has '
                f'{", ".join(tags) or "none"}.'
            )
        return
    near = difflib.get_close_matches(stem, timm.list_models(), 5, 0.5)
    raise BCE3SError(
        f'TimmBackbone: timm {timm.__version__} knows no network {name!r}. '
        + (f'Near are {", ".join(near)}.' if near else 'timm.list_models() names those it has.')
    )


def features_of(net: nn.Module) -> int:
    """d of what a network without a classifier gives."""
    return getattr(net, 'head_hidden_size', None) or net.num_features


def data_config(net: nn.Module) -> dict[str, Any]:
    """``input_size`` (C, H, W), ``mean``, ``std``, ``interpolation``, ``crop_pct`` of a network."""
    from timm.data import resolve_model_data_config

    return resolve_model_data_config(net)


@torch.no_grad()
def facts_of_name(name: str, size: int | None = None) -> dict[str, Any]:
    """What a run has to know before it is built: :func:`data_config`, the number of features
    ``features``, and ``options`` that make the network take ``size`` x ``size`` pixels.

    Raises:
        BCE3SError: as :class:`TimmBackbone`.
    """
    timm = timm_or_sentence()
    known_name(name)
    with torch.device('meta'):
        net = timm.create_model(name, pretrained=False, num_classes=0)
    config = data_config(net)
    fixed = hasattr(getattr(net, 'patch_embed', None), 'img_size') and hasattr(net, 'pos_embed')
    size = size or config['input_size'][-1]
    options = dict(img_size=size) if fixed and size != config['input_size'][-1] else {}
    features = features_of(net)
    return dict(config, features=features, options=options, size=size, fixed=fixed)


def cached_weights(name: str) -> bool:
    """Whether the weights of ``name`` are on this machine, fetched from the Hub before."""
    try:
        import timm
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return False
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    repo = config and config.hf_hub_id
    if not repo:
        return False
    found = try_to_load_from_cache(repo, 'model.safetensors')
    return isinstance(found, str | os.PathLike)
