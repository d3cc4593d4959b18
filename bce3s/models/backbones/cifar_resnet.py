"""The CIFAR ResNets of He et al. (CVPR 2016), section 4.2: ResNet-20, 32, 44, 56; and smaller."""

from __future__ import annotations

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
        channels = base = int(16 * width)
        if base < 1 or base != 16 * width:
            raise BCE3SError(
                f'CIFARResNet: width {width} makes {16 * width:g} channels; use a multiple of '
                '1/16, for example 0.5.'
            )
        self.stem = nn.Conv2d(in_channels, channels, 3, stem_stride, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        stages = []
        for stage in range(3):
            for block in range((depth - 2) // 6):
                first = stage > 0 and block == 0
                inputs = channels
                channels = base * 2**stage
                stages.append(CIFARBlock(inputs, channels, 2 if first else 1))
        self.blocks = nn.Sequential(*stages)
        self.out_channels = channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Images (B, in_channels, H, W) -> one feature map (B, out_channels, H / 4, W / 4), or half
        of that with a stem of stride 2.
        """
        x = F.relu(self.bn(self.stem(x)), inplace=True)
        return (self.blocks(x),)
