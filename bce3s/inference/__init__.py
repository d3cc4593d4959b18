"""A trained model at work: images in, classes or "none of these" out."""


def __getattr__(name: str) -> object:
    """What needs torch, for who asks for it: the tools parse their arguments before."""
    if name not in ('Predictor', 'Prediction'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    import warnings

    with warnings.catch_warnings():
        # mmcv-lite is what the requirements ask for; its advice to install mmcv does not apply
        warnings.filterwarnings('ignore', 'Fail to import', UserWarning)
        import mmpretrain.models  # noqa: F401

        from bce3s.inference import predictor

    return getattr(predictor, name)
