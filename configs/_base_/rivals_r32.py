"""The harness of configs/rivals: every method on the same data, network, augmentation and schedule.

CIFAR-100-LT, imbalance factor 100, LDAM's subset; the true CIFAR ResNet-32 (0.46 M parameters); one
view, crop and flip; 200 epochs, batch 128, SGD with momentum 0.9, rate 0.1 (5 epochs of warm-up,
cosine), decay 5e-4. The last epoch counts, without test-time augmentation. A linear classifier with
free weights; the head's ``joint`` loss is what most methods change.
"""

_base_ = [
    './datasets/cifar100lt.py',
    './models/plain_r32.py',
    './default_runtime.py',
]

train_dataloader = dict(batch_size=128, dataset=dict(imbalance_factor=100, rule='ldam'))
model = dict(
    flip_tta=False,
    data_preprocessor=dict(
        augment=[
            dict(type='BatchPadCrop', padding=4),
            dict(type='BatchFlip'),
        ],
    ),
)
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=5)
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4, fused=True),
)
default_hooks = dict(
    schedule=dict(type='CosineLRHook', warmup_epochs=5),
    checkpoint=dict(interval=5),
)
