"""ImageNet-1k as folders of images: 1,281,167 training and 50,000 validation images, 1,000 classes.

Not downloaded: put it, or a link to it, at ``data/imagenet`` (``train/CLASS/*.JPEG``,
``val/CLASS/*.JPEG``), or name another folder, balanced or not, by ``dataset.data_root`` of both
loaders (and set ``model.head.num_classes``). Training: random crop to 224, flip; test: shorter side
256, centre crop 224. The validation images are the test set, as usual on ImageNet.
"""

train_dataloader = dict(
    batch_size=128,
    num_workers=8,
    pin_memory=True,  # in a thread of the loader, so that the copy to a GPU waits for nothing
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='NaturalSampler'),
    batch_sampler=dict(type='GlobalBatchSampler'),
    dataset=dict(type='ImageFolder', data_root='data/imagenet', split='train'),
)
val_dataloader = dict(
    batch_size=250,
    num_workers=8,
    pin_memory=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ImageFolder', data_root='data/imagenet', split='test'),
)
val_cfg = dict()
val_evaluator = dict(type='LongTailedMetric')
