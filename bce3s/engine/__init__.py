from . import (
    checkpoint,
    deferred_losses,
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
    'deferred_losses',
    'feature_measures',
    'max_norm',
    'non_finite',
    'progress',
    'report_hook',
    'run_state',
    'schedule',
]
