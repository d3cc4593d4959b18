from . import (
    checkpoint,
    deferred_losses,
    feature_measures,
    loops,
    max_norm,
    non_finite,
    progress,
    report_hook,
    run_state,
    saving,
    schedule,
    skipped_images,
)

__all__ = [
    'checkpoint',
    'deferred_losses',
    'feature_measures',
    'loops',
    'max_norm',
    'non_finite',
    'progress',
    'report_hook',
    'run_state',
    'saving',
    'schedule',
    'skipped_images',
]
