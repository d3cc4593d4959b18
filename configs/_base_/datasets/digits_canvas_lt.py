"""Several digits a picture: scikit-learn's digits on canvases of 2 x 2 cells; no download.

10 classes, 16 x 16, grey. 513 training pictures with 300 down to 6 positives a class, 614 test
pictures with 100 of each class. Many/Medium/Few: 3/4/3 classes. The pictures of ``split='val'``
(50 of each class), on which numbers may be chosen, share no digit with either.
"""

_base_ = './in_memory_lt.py'

train_dataloader = dict(dataset=dict(type='DigitsCanvasLT', split='train'))
val_dataloader = dict(dataset=dict(type='DigitsCanvasLT', split='test'))
