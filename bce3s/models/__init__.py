"""The method, which needs PyTorch alone. The network for MMEngine's Runner stands in
:mod:`~bce3s.models.classifier`.
"""

from .bcl import BCLHead
from .etf_classifier import ETFClassifier, RotatedETFClassifier, simplex_etf
from .experts import ExpertsClassifier, ExpertsHead
from .glmc import GLMCHead
from .h2t import H2THead
from .head import TripartiteHead
from .linear_classifier import LinearClassifier
from .memory_bank import ClassMemoryBank
from .proco import ProCoHead
from .sampled import SampledClassifier, SampledTripartiteHead
from .targets import Targets
from .weight_scaling import LWSClassifier

__all__ = [
    'BCLHead',
    'ClassMemoryBank',
    'ETFClassifier',
    'ExpertsClassifier',
    'ExpertsHead',
    'GLMCHead',
    'H2THead',
    'LWSClassifier',
    'LinearClassifier',
    'ProCoHead',
    'RotatedETFClassifier',
    'SampledClassifier',
    'SampledTripartiteHead',
    'Targets',
    'TripartiteHead',
    'simplex_etf',
]
