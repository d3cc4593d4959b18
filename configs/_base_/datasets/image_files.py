"""Loaders of images in files: worker processes read them and crop them to 224 x 224.

``batch_size`` counts samples a process: 256 is the batch of a run of one process, so with N of them
set 256 / N to keep it (``--cfg-options train_dataloader.batch_size=32`` for 8).
``num_workers`` counts them a process too. Training: random crop (8 to 100 % of the area), flip;
test: shorter side 256, centre crop.
"""

train_dataloader = dict(
    batch_size=256,
    num_workers=8,
    pin_memory=True,  # in a thread of the loader, so that the copy to a GPU waits for nothing
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='NaturalSampler'),
    batch_sampler=dict(type='GlobalBatchSampler'),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=8,
    pin_memory=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_cfg = dict()
val_evaluator = dict(type='LongTailedMetric')
auto_scale_lr = dict(enable=False, base_batch_size=256)  # --auto-scale-lr: lr times batch / 256
