from . import augment, auto_augment, backbones, losses, mixing
from .classifier import LongTailedClassifier
from .head import TripartiteHead
from .memory_bank import ClassMemoryBank
from .preprocessor import LongTailedPreprocessor
from .targets import Targets

__all__ = [
    'ClassMemoryBank',
    'LongTailedClassifier',
    'LongTailedPreprocessor',
    'Targets',
    'TripartiteHead',
    'augment',
    'auto_augment',
    'backbones',
    'losses',
    'mixing',
]
