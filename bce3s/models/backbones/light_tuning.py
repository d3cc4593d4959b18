"""A small part of a pretrained network is trained: its last blocks, low-rank updates, adapters."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bce3s.errors import BCE3SError

WAYS = ('blocks', 'lora', 'adapter')


def tune(net: nn.Module, how: str | Mapping[str, int] | None) -> None:
    """Freezes ``net`` but for what is to be trained; the last norm is trained with it.

    Args:
        net: of timm.
        how: None: all of it is frozen; ``'all'``: nothing is; ``dict(blocks=n)``: the last n of its
            blocks are trained; ``dict(lora=r)``: every linear layer of attention (``qkv``, ``q``,
            ``k``, ``v``, ``proj``) and MLP (``fc1``, ``fc2``) of a Vision Transformer gets
            :class:`LowRank`; ``dict(adapter=m)``: every MLP of one gets :class:`Adapted`.

    Raises:
        BCE3SError: another value, or a network without what is to be trained.
    """
    if how == 'all':
        return
    net.requires_grad_(False)
    if how is None:
        return
    if not isinstance(how, Mapping) or len(how) != 1 or next(iter(how)) not in WAYS:
        raise BCE3SError(
            f"TimmBackbone: train={how!r}: give None, 'all', dict(blocks=2), dict(lora=8) or "
            'dict(adapter=16).'
        )
    ((way, number),) = how.items()
    if type(number) is not int or number < 1:
        raise BCE3SError(f'TimmBackbone: train={dict(how)}: a whole number from 1 is needed.')
    dict(blocks=_last_blocks, lora=_low_rank, adapter=_adapters)[way](net, number)


def _last_blocks(net: nn.Module, number: int) -> None:
    parts = next((p for p in _stacks(net) if len(p)), None)
    if parts is None:
        raise BCE3SError(f'TimmBackbone: {type(net).__name__} has no list of blocks to train.')
    parts = [b for p in parts for b in (p if isinstance(p, nn.Sequential) else [p])]
    for block in parts[-number:]:
        block.requires_grad_(True)
    for name in ('norm', 'fc_norm', 'bn2', 'conv_head', 'norm_head'):  # what follows the blocks
        if isinstance(after := getattr(net, name, None), nn.Module):
            after.requires_grad_(True)


def _stacks(net: nn.Module) -> list[nn.Module]:
    found = [getattr(net, name, None) for name in ('blocks', 'stages', 'layers')]
    resnet = [getattr(net, f'layer{i}', None) for i in range(1, 5)]
    if all(isinstance(part, nn.Sequential) for part in resnet):
        found.append(nn.Sequential(*resnet))
    return [part for part in found if isinstance(part, nn.Sequential | nn.ModuleList)]


# ------------------------------------------------------------------------------------------ LoRA
class LowRank(nn.Module):
    """``W -> W + (alpha / r) B A`` with A (r, in) and B (out, r), B = 0 at first.

    A parametrisation of a weight, so that layers and their names stay, and what reads the weight
    (an export, :func:`merged`) reads the sum. Hu et al., LoRA (ICLR 2022, arXiv 2106.09685).

    Args:
        weight: (out, in), frozen.
        rank: r. alpha: default 2 r.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float | None = None) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        if rank > min(outputs, inputs):
            raise BCE3SError(
                f'TimmBackbone: train=dict(lora={rank}) is above the {min(outputs, inputs)} rows '
                'or columns of a layer: give a smaller rank.'
            )
        self.lora_a = nn.Parameter(torch.empty(rank, inputs))
        self.lora_b = nn.Parameter(torch.zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))
        self.scale = (2 * rank if alpha is None else alpha) / rank

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.lora_b @ self.lora_a)


ATTENTION_AND_MLP = ('qkv', 'q', 'k', 'v', 'proj', 'fc1', 'fc2')


def _low_rank(net: nn.Module, rank: int) -> None:
    layers = [
        layer
        for name, layer in net.named_modules()
        if isinstance(layer, nn.Linear)
        and '.' in name
        and name.rsplit('.', 1)[1] in ATTENTION_AND_MLP
        and name.split('.')[0] in ('blocks', 'layers', 'stages')
    ]
    if not layers:
        raise BCE3SError(
            f'TimmBackbone: {type(net).__name__} has no linear layers of attention: train=dict('
            'lora=...) is for Vision Transformers; of other networks train the last blocks, '
            'train=dict(blocks=2).'
        )
    for layer in layers:
        parametrize.register_parametrization(layer, 'weight', LowRank(layer.weight, rank))


# --------------------------------------------------------------------------------------- adapters
class Adapted(nn.Module):
    """``mlp(x) + s W_up relu(W_down x)``, W_down (m, d), W_up (d, m) and 0 at first, s = 0.1.

    Beside the MLP of a block, after its norm. Chen et al., AdaptFormer (NeurIPS 2022, arXiv
    2205.13535).

    Args:
        inner: the MLP, frozen. width: d. bottleneck: m.
    """

    def __init__(self, inner: nn.Module, width: int, bottleneck: int, scale: float = 0.1) -> None:
        super().__init__()
        self.inner, self.scale = inner, scale
        self.adapter = nn.Sequential(
            nn.Linear(width, bottleneck), nn.ReLU(), nn.Linear(bottleneck, width)
        )
        nn.init.kaiming_uniform_(self.adapter[0].weight, a=math.sqrt(5))
        for values in (self.adapter[0].bias, self.adapter[2].weight, self.adapter[2].bias):
            nn.init.zeros_(values)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.scale * self.adapter(x)


def _adapters(net: nn.Module, bottleneck: int) -> None:
    blocks = [
        block
        for block in net.modules()
        if isinstance(getattr(block, 'mlp', None), nn.Module) and hasattr(block.mlp, 'fc1')
    ]
    if not blocks or not all(isinstance(block.mlp.fc1, nn.Linear) for block in blocks):
        raise BCE3SError(
            f'TimmBackbone: {type(net).__name__} has no blocks with an MLP: train=dict(adapter=...)'
            ' is for Vision Transformers; of other networks train the last blocks, '
            'train=dict(blocks=2).'
        )
    for block in blocks:
        block.mlp = Adapted(block.mlp, block.mlp.fc1.in_features, bottleneck)


def merged(net: nn.Module) -> nn.Module:
    """``net``, in place, with every low-rank update added to its weight for good.

    Layers are replaced: what torch's ``remove_parametrizations`` takes from a layer it takes from
    the layer that this one is a copy of, too.
    """
    for parent in list(net.modules()):
        for name, layer in parent.named_children():
            if parametrize.is_parametrized(layer, 'weight'):
                plain = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)
                plain.weight = nn.Parameter(layer.weight.detach())
                plain.bias = layer.bias
                setattr(parent, name, plain.train(layer.training))
    return net
