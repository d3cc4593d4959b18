"""`ce.py` on nine tenths of the training images; the last tenth is there to choose numbers on.

`python tools/posthoc.py RUN` then chooses tau on the 1,093 images that are held out, which the
network has not seen, and measures on the test images. The same three settings make a validation set
of any config in this folder.
Not measured yet.

    python tools/train.py configs/rivals/ce_held_out.py
"""

_base_ = './ce.py'

train_dataloader = dict(dataset=dict(hold_out=0.1))
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
