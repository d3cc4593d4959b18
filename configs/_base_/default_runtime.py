"""What every run has, whatever it trains: hooks, logs, checkpoints, seed.

Every hook that each run needs stands in ``default_hooks`` under a name of its own, so that a config
may set ``custom_hooks`` (which replaces that list as a whole) without losing one of them, and may
change one by its name: ``--cfg-options default_hooks.checkpoint.interval=10``.

``run_state``           gives the model class counts, seed, epoch and step; comes first
``runtime_info``        epoch, iteration, learning rate, and the losses when they are logged
``timer``, ``logger``   seconds an iteration; one line every 50 iterations
``param_scheduler``     steps MMEngine's schedulers, if the config has any
``sampler_seed``        tells the sampler its epoch
``checkpoint``          every epoch, two kept, each written whole or not at all; within an epoch
                        with ``interval_iters`` or ``interval_minutes``, and when the run is asked
                        to stop (SIGTERM, SIGUSR1, Ctrl-C)
``safe_checkpoint``     tensors and plain types only, so torch.load(weights_only=True) reads it
``checkpoint_guard``    stops where a checkpoint does not fit the model; MMEngine would only warn
``resumed_validation``  after a resume, validates the epoch that the checkpoint ended, if due
``non_finite``          stops at the first NaN or infinite loss (looked for when a line is logged),
                        before anything is saved; ``action='skip'`` leaves such steps out
``branches``            says when the contrastive branch gives nothing to the features
``skipped_images``      counts images that cannot be read, where the data set skips them
``report``              WORK_DIR/report.json and report.md
``progress``            a progress bar on a terminal; nothing in a log or a pipe
"""

default_scope = 'bce3s'

default_hooks = dict(
    run_state=dict(type='RunStateHook'),
    runtime_info=dict(type='DeferredRuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    checkpoint=dict(
        type='RunCheckpointHook',
        interval=1,
        max_keep_ckpts=2,
        save_last=True,
        backend_args=dict(backend='atomic'),
    ),
    safe_checkpoint=dict(type='SafeCheckpointHook'),
    checkpoint_guard=dict(type='CheckpointGuardHook'),
    resumed_validation=dict(type='ResumedValidationHook'),
    non_finite=dict(type='NonFiniteLossHook', interval=50),
    branches=dict(type='BranchHealthHook', interval=50),
    skipped_images=dict(type='SkippedImagesHook'),
    report=dict(type='ReportHook'),
    progress=dict(type='ProgressHook'),
)

env_cfg = dict(
    cudnn_benchmark=True,  # `randomness.deterministic=True` switches it off again
    tf32=True,  # products of float32 on a GPU
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl', timeout=600),
)

# curves: `tensorboard --logdir work_dirs`; the same scalars as JSON lines in vis_data/
visualizer = dict(
    type='Visualizer',
    vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')],
)
log_processor = dict(by_epoch=True, window_size=10)
log_level = 'INFO'

load_from = None  # weights to start from; to continue a run use --resume
resume = False
randomness = dict(seed=0)
