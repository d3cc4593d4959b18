"""CE with validation images, to choose numbers on: 50 of each class, which it does not see.

They are held out of CIFAR-100's training files before the long tail is cut from the others, at most
450 of a class in place of 500. `python tools/posthoc.py RUN` then chooses tau on them and measures
on the test images. The same settings give any config of CIFAR-LT a validation set.
Not measured yet.

    python tools/train.py configs/baselines/cifar100lt_if100_ce_r32_validation.py
"""

_base_ = '../rivals/ce.py'

train_dataloader = dict(dataset=dict(val_per_class=50))
val_dataloader = dict(dataset=dict(split='val'))
test_dataloader = dict(
    batch_size=500,
    num_workers=0,
    collate_fn=dict(type='passthrough'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CIFAR100LT', split='test'),
)
test_cfg = dict()
test_evaluator = dict(type='LongTailedMetric')
