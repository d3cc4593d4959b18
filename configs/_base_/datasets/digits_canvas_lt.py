"""Several digits a picture: scikit-learn's digits on canvases of 2 x 2 cells; no download.

10 classes, 16 x 16, grey. 513 training pictures with 300 down to 6 positives a class, 614 test
pictures with 100 of each class. Many/Medium/Few: 3/4/3 classes. Training validates on pictures of
its own (50 of each class), on which the thresholds of the classes are chosen; no digit is in two of
the three.
"""

_base_ = './in_memory_lt.py'

train_dataloader = dict(dataset=dict(type='DigitsCanvasLT', split='train', imbalance_factor=50))
val_dataloader = dict(dataset=dict(type='DigitsCanvasLT', split='val', imbalance_factor=50))
test_dataloader = dict(
    batch_size=500,
    num_workers=0,
    collate_fn=dict(type='passthrough'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='DigitsCanvasLT', split='test', imbalance_factor=50),
)
test_cfg = dict()
test_evaluator = dict(type='LongTailedMetric')
