from . import image_folder, in_memory, long_tailed, samplers

__all__ = ['image_folder', 'in_memory', 'long_tailed', 'samplers']
