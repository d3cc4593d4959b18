"""A Vision Transformer that starts from the file of a masked autoencoder (MAE)."""

from __future__ import annotations

from mmpretrain.models import VisionTransformer
from torch import Tensor

from bce3s.errors import BCE3SError
from bce3s.models.backbones.weights import read_weights
from bce3s.registry import MODELS

# names in files of MAE, which are timm's -> mmpretrain's
NAMES = (
    ('patch_embed.proj.', 'patch_embed.projection.'),
    ('blocks.', 'layers.'),
    ('.norm1.', '.ln1.'),
    ('.norm2.', '.ln2.'),
    ('.mlp.fc1.', '.ffn.layers.0.0.'),
    ('.mlp.fc2.', '.ffn.layers.1.'),
)


@MODELS.register_module()
class MAEVisionTransformer(VisionTransformer):
    """mmpretrain's, whose ``init_cfg=dict(type='Pretrained', checkpoint=PATH)`` may be a file of
    "Masked Autoencoders Are Scalable Vision Learners" (He et al., CVPR 2022), of LiVT, or of
    mmpretrain.

    The encoder is taken over; decoder, mask token and final norm of the file are not. The norm
    after the mean over patches (``out_type='avg_featmap'``) is new, as in MAE's fine-tuning.
    Position embeddings of another resolution are interpolated.

    Raises:
        BCE3SError: (``init_weights``) no such file, or one in which a part of the encoder is
            missing or of another shape.
    """

    def init_weights(self) -> None:
        start, self.init_cfg = self.init_cfg, None
        super().init_weights()
        self.init_cfg = start
        if start:
            self._start_from(start['checkpoint'])

    def _start_from(self, path: str) -> None:
        given, own = _encoder(path), self.state_dict()
        if self.out_type == 'avg_featmap':
            own = {name: value for name, value in own.items() if not name.startswith('ln2.')}
        for name, value in own.items():
            other = given.get(name)
            if other is None or (name != 'pos_embed' and other.shape != value.shape):
                found = 'is not there' if other is None else f'is of shape {tuple(other.shape)}'
                raise BCE3SError(
                    f'{path}: {name} {found}, but this network has it of shape '
                    f'{tuple(value.shape)}: give model.backbone.init_cfg.checkpoint the weights of '
                    'a masked autoencoder with the same arch, patch_size and in_channels.'
                )
        self.load_state_dict({name: given[name] for name in own}, strict=False)


def _encoder(path: str) -> dict[str, Tensor]:
    """What a file holds, by mmpretrain's names."""
    try:
        found = read_weights(path)
    except BCE3SError as error:
        raise BCE3SError(
            f'{error} Set model.backbone.init_cfg.checkpoint to a file of a masked autoencoder, or '
            'to train from scratch model.backbone.init_cfg=None.'
        ) from error
    weights = {}
    for name, value in found.items():
        name = name.removeprefix('backbone.')
        for theirs, ours in NAMES:
            name = name.replace(theirs, ours)
        weights[name] = value
    return weights
