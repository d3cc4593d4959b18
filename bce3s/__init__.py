"""bce3s: long-tailed recognition with binary cross-entropy tripartite synergistic learning."""

__version__ = '0.1.0'


def __getattr__(name: str) -> object:
    """``Predictor``, whose import takes seconds, for who asks for it."""
    if name != 'Predictor':
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from bce3s.inference import Predictor

    return Predictor
