from . import backbones, losses
from .classifier import LongTailedClassifier
from .data_parallel import BCE3SDataParallel
from .head import TripartiteHead
from .memory_bank import ClassMemoryBank
from .preprocessor import LongTailedPreprocessor
from .targets import Targets

__all__ = [
    'BCE3SDataParallel',
    'ClassMemoryBank',
    'LongTailedClassifier',
    'LongTailedPreprocessor',
    'Targets',
    'TripartiteHead',
    'backbones',
    'losses',
]
