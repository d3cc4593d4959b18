"""Loaders of a data set in memory: a batch is one gather, and no worker process is needed."""

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    collate_fn=dict(type='passthrough'),
    sampler=dict(type='NaturalSampler'),
    batch_sampler=dict(type='GlobalBatchSampler'),
)
val_dataloader = dict(
    batch_size=500,
    num_workers=0,
    collate_fn=dict(type='passthrough'),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_cfg = dict()
val_evaluator = dict(type='LongTailedMetric')
