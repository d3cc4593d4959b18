"""Layer-wise rates: the further from the head, the slower a pretrained layer moves."""

from __future__ import annotations

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from bce3s.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerwiseRates(DefaultOptimWrapperConstructor):
    """MMEngine's, and the rate of layer l of L of the backbone times ``layer_decay ** (L - l)``.

    ``paramwise_cfg.layer_decay`` (default 1) comes beside what MMEngine knows, so that the last
    layer has the rate that ``custom_keys`` give the backbone. Layers are counted by the backbone's
    ``get_layer_depth``, as mmpretrain's Vision Transformers and
    :class:`~bce3s.models.backbones.timm_backbone.TimmBackbone` have it. Clark et al., ELECTRA (ICLR
    2020); Bao et al., BEiT (ICLR 2022).
    """

    def add_params(
        self, params: list[dict], module: nn.Module, prefix: str = '', **options: object
    ) -> None:
        super().add_params(params, module, prefix, **options)
        decay = self.paramwise_cfg.get('layer_decay', 1.0)
        if prefix or decay == 1:
            return
        depths = {
            id(param): module.backbone.get_layer_depth(name, '')
            for name, param in module.backbone.named_parameters()
        }
        for group in params:
            layer, layers = depths.get(id(group['params'][0]), (0, 0))
            below = max(0, layers - 2 - layer)  # layers of the backbone above it: one is the head
            group['lr'] = group.get('lr', self.base_lr) * decay**below
