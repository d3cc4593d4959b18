"""Long-tailed digits: scikit-learn's handwritten digits, 10 classes, 8 x 8, grey; no download.

405 training images (120 down to 6 a class, imbalance factor 20), 500 test images: the first 50 of
each class in file order. Many/Medium/Few: 1/5/4 classes.
"""

_base_ = './in_memory_lt.py'

train_dataloader = dict(dataset=dict(type='DigitsLT', split='train', imbalance_factor=20))
val_dataloader = dict(dataset=dict(type='DigitsLT', split='test'))
