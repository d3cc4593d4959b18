"""What happens to the pixels of a batch: augmentation and mixing, on tensors, on their device."""

from .auto_augment import BatchAutoAugment
from .color import BatchColorJitter, BatchGrayscale
from .mixing import MixUpOrCutMix, PairedCutMix, PairedMixUp, PairedPartner
from .rand_augment import BatchRandAugment
from .spatial import BatchCutout, BatchFlip, BatchPadCrop, BatchResizedCrop

__all__ = [
    'BatchAutoAugment',
    'BatchColorJitter',
    'BatchCutout',
    'BatchFlip',
    'BatchGrayscale',
    'BatchPadCrop',
    'BatchRandAugment',
    'BatchResizedCrop',
    'MixUpOrCutMix',
    'PairedCutMix',
    'PairedMixUp',
    'PairedPartner',
]
