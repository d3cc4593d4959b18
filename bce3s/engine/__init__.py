from . import (
    checkpoint,
    feature_measures,
    max_norm,
    non_finite,
    progress,
    report_hook,
    run_state,
    schedule,
)

__all__ = [
    'checkpoint',
    'feature_measures',
    'max_norm',
    'non_finite',
    'progress',
    'report_hook',
    'run_state',
    'schedule',
]
