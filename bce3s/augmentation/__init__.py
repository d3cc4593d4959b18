"""What happens to the pixels of a batch: augmentation and mixing, on tensors, on their device."""

from . import auto_augment, color, mixing, rand_augment, spatial

__all__ = ['auto_augment', 'color', 'mixing', 'rand_augment', 'spatial']
