from . import checkpoint, max_norm, non_finite, progress, report_hook, run_state, schedule

__all__ = [
    'checkpoint',
    'max_norm',
    'non_finite',
    'progress',
    'report_hook',
    'run_state',
    'schedule',
]
