"""BCE3S for many classes: iNaturalist 2018 (8,142 classes), a quarter of them sampled for a batch.

``sample_rate=0.25``: each step compares its batch with 2,035 classes, those of its labels and
partners and others at random, in all three branches and on all three views; the other rows of the
classifier and of the bank cost nothing in that step. ``LazySGD`` makes up for their momentum and
weight decay when they are next sampled, so they move as with SGD. It pays from some thousands of
classes on. ``joint.resample`` of the published recipe is another thing: it computes all logits and
leaves negatives out of the origin view's joint loss.

The images, not downloaded: as folders, ``data/inaturalist2018/train/CLASS/*.jpg`` and
``val/CLASS/*.jpg``. ResNet-50 from scratch, 100 epochs; random crops and flips. No published recipe
of BCE3S for this set is known to us: rate, decay, epochs and batch are usual values.
Not measured yet.

    python tools/train.py configs/bce3s/inaturalist2018_r50_sampled.py
"""

_base_ = [
    '../_base_/datasets/imagenet.py',
    '../_base_/models/linear_r50_imagenet.py',
    '../_base_/schedules/sgd_320e.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=100)
train_dataloader = dict(
    batch_size=64,
    batch_sampler=dict(type='PairedBatchSampler'),
    dataset=dict(data_root='data/inaturalist2018'),
)
val_dataloader = dict(dataset=dict(data_root='data/inaturalist2018'))
model = dict(
    data_preprocessor=dict(mix=[dict(type='PairedMixUp'), dict(type='PairedCutMix')]),
    backbone=dict(init_cfg=None),
    head=dict(
        num_classes=8142,
        sample_rate=0.25,
        contrastive=dict(type='BCEContrastive', tau=1.0),
        uniformity=dict(type='BCEUniformity'),
        normalize_weight=True,
        init='kaiming_normal',
    ),
)
optim_wrapper = dict(optimizer=dict(type='LazySGD', lr=0.05, weight_decay=5e-4))
