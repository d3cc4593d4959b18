"""The CIFAR ResNets of He et al. (CVPR 2016), section 4.2: ResNet-20, 32, 44, 56; and smaller. With
several experts behind the first stage, too.
"""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from bce3s.errors import BCE3SError
from bce3s.registry import MODELS


class CIFARBlock(nn.Module):
    """Two 3 x 3 convolutions and a parameter-free shortcut (option A: stride, zero-padding)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.padding = stride, channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        if self.padding or self.stride > 1:
            before = self.padding // 2
            x = x[:, :, :: self.stride, :: self.stride]
            x = F.pad(x, (0, 0, 0, 0, before, self.padding - before))
        return F.relu(out.add_(x), inplace=True)


@MODELS.register_module()
class CIFARResNet(BaseModule):
    """ResNet-(6n + 2) for small images: 3 x 3 stem, three stages of n blocks, option-A shortcuts.

    With width 1 ResNet-32 has 0.46 M parameters and 64 features (LDAM, ProCo); with width 4, which
    GLMC calls ResNet-32, 7.4 M and 256. ResNet-8 and ResNet-14 are not in the paper: for two cores.

    Args:
        depth: 8, 14, 20, 32, 44 or 56.
        width: factor on the channels 16, 32, 64; those must stay whole numbers.
        in_channels: of the images.
        stem_stride: 2 halves the resolution from the start, for a quarter of the work.
    """

    def __init__(
        self,
        depth: int = 32,
        width: float = 1,
        in_channels: int = 3,
        stem_stride: int = 1,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if depth not in (8, 14, 20, 32, 44, 56):
            raise BCE3SError(f'CIFARResNet: depth must be 8, 14, 20, 32, 44 or 56, not {depth}.')
        base, self.blocks_per_stage = _channels('width', width), (depth - 2) // 6
        self.stem = nn.Conv2d(in_channels, base, 3, stem_stride, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(base)
        self._make_blocks(base)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def _make_blocks(self, base: int) -> None:
        self.blocks = nn.Sequential(
            *self._stage(base, base, 1),
            *self._stage(base, 2 * base, 2),
            *self._stage(2 * base, 4 * base, 2),
        )
        self.out_channels = 4 * base

    def _stage(self, inputs: int, channels: int, stride: int) -> list[CIFARBlock]:
        further = range(self.blocks_per_stage - 1)
        first = CIFARBlock(inputs, channels, stride)
        return [first, *(CIFARBlock(channels, channels, 1) for _ in further)]

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Images (B, in_channels, H, W) -> one feature map (B, out_channels, H / 4, W / 4), or half
        of that with a stem of stride 2.
        """
        x = F.relu(self.bn(self.stem(x)), inplace=True)
        return (self.blocks(x),)


@MODELS.register_module()
class ExpertsCIFARResNet(CIFARResNet):
    """A :class:`CIFARResNet` whose experts share stem and first stage, each with its own further
    two: RIDE (Wang et al., ICLR 2021, arXiv 2010.01809), and SADE and BalPoE after it.

    Their features stand side by side: E * 64 w of them, for an :class:`ExpertsClassifier`.

    Args:
        depth, width, in_channels, stem_stride: as of :class:`CIFARResNet`, of the shared part.
        experts: E >= 1.
        expert_width: w, factor on an expert's channels 32, 64; 0.75 in RIDE and SADE, 1 in BalPoE.
    """

    def __init__(
        self,
        depth: int = 32,
        width: float = 1,
        in_channels: int = 3,
        stem_stride: int = 1,
        experts: int = 3,
        expert_width: float = 0.75,
        init_cfg: dict | None = None,
    ) -> None:
        if not isinstance(experts, int) or experts < 1:
            raise BCE3SError(
                f'ExpertsCIFARResNet: experts must be a whole number, at least 1, not {experts!r}.'
            )
        self._experts = experts, _channels('expert_width', expert_width)
        super().__init__(depth, width, in_channels, stem_stride, init_cfg)

    def _make_blocks(self, base: int) -> None:
        experts, own = self._experts
        if 2 * own < base:
            raise BCE3SError(
                f'ExpertsCIFARResNet: its experts would be narrower, {2 * own} channels, than what '
                f'they share, {base}: raise expert_width.'
            )
        self.blocks = nn.Sequential(*self._stage(base, base, 1))
        self.experts = nn.ModuleList(
            nn.Sequential(*self._stage(base, 2 * own, 2), *self._stage(2 * own, 4 * own, 2))
            for _ in range(experts)
        )
        self.out_channels = experts * 4 * own

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """As of :class:`CIFARResNet`: one feature map (B, out_channels, H / 4, W / 4)."""
        (shared,) = super().forward(x)
        return (torch.cat([expert(shared) for expert in self.experts], 1),)


def _channels(name: str, width: float) -> int:
    """16 times the width."""
    channels = int(16 * width)
    if channels < 1 or channels != 16 * width:
        raise BCE3SError(
            f'CIFARResNet: {name} {width} makes {16 * width:g} channels; use a multiple of 1/16, '
            'for example 0.5.'
        )
    return channels
