from .contrastive import BCEContrastive, CEContrastive
from .joint import BCEJoint, CEJoint
from .uniformity import BCEUniformity, CEUniformity

__all__ = [
    'BCEContrastive',
    'BCEJoint',
    'BCEUniformity',
    'CEContrastive',
    'CEJoint',
    'CEUniformity',
]
