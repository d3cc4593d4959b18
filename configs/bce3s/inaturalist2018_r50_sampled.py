"""BCE3S for many classes: iNaturalist 2018 (8,142 classes), 25 % of them sampled per step.

``sample_rate=0.25``: each step compares its batch with 2,035 classes, those of its labels and
partners and others at random, in all three branches and on all three views; the other rows of the
classifier and of the bank cost nothing in that step. ``LazySGD`` makes up for their momentum and
weight decay when they are next sampled, so they move as with SGD. It pays from some thousands of
classes on. ``joint.resample`` of the published recipe is another thing: it computes all logits and
leaves negatives out of the origin view's joint loss.

All else, and the commands for several GPUs and machines, as in inaturalist2018_r50.py.

Expected All: not published.
Not measured yet.

    python tools/train.py configs/bce3s/inaturalist2018_r50_sampled.py
"""

_base_ = './inaturalist2018_r50.py'

model = dict(
    head=dict(
        type='SampledTripartiteHead',
        sample_rate=0.25,
        classifier=dict(type='SampledClassifier'),
        joint=dict(resample=1.0),
    ),
)
optim_wrapper = dict(optimizer=dict(type='LazySGD'))
