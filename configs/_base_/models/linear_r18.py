"""A linear classifier with BCE on ResNet-18 (3 x 3 stem, 11.2 M parameters, 512 features).

As in "BCE vs. CE in Deep Feature Learning" (ICML 2025): one view, nothing normalised, W and b
initialised as PyTorch does ("kaiming uniform"), one mean and standard deviation for every data set
(Table 5). The paper does not print the stem: 3 x 3 is our reading.
"""

model = dict(
    type='LongTailedClassifier',
    data_preprocessor=dict(
        type='LongTailedPreprocessor',
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
    ),
    backbone=dict(type='ResNet_CIFAR', depth=18),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='TripartiteHead',
        num_classes=10,
        in_channels=512,
        joint=dict(type='BCEJoint'),
        classifier=dict(type='LinearClassifier', normalize_weight=False, init='kaiming_uniform'),
    ),
)
