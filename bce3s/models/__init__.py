"""The method, which needs PyTorch alone. The network for MMEngine's Runner stands in
:mod:`~bce3s.models.classifier`.
"""

from .etf_classifier import ETFClassifier, RotatedETFClassifier, simplex_etf
from .h2t import H2THead
from .head import TripartiteHead
from .linear_classifier import LinearClassifier
from .memory_bank import ClassMemoryBank
from .sampled import SampledClassifier, SampledTripartiteHead
from .targets import Targets
from .weight_scaling import LWSClassifier

__all__ = [
    'ClassMemoryBank',
    'ETFClassifier',
    'H2THead',
    'LWSClassifier',
    'LinearClassifier',
    'RotatedETFClassifier',
    'SampledClassifier',
    'SampledTripartiteHead',
    'Targets',
    'TripartiteHead',
    'simplex_etf',
]
