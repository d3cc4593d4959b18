from . import in_memory, long_tailed, samplers

__all__ = ['in_memory', 'long_tailed', 'samplers']
