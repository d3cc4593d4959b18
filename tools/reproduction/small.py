"""The small scale: what is changed so that a cell trains on two slow cores.

Rules are (pattern of cell keys, overrides); all that fit a key apply, in this order; None leaves a
cell out. There is one network a table, ResNet-8 in the place of ResNet-18, 32 and 34. For CIFAR-10
stand ten classes of CIFAR-100, and MNIST where neural collapse is shown: it is reached there in a
few epochs. The rates are larger than published, because the runs are short.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Rules = tuple[tuple[str, Mapping[str, Any] | None], ...]
StandsFor = tuple[tuple[str, Mapping[str, str]], ...]

# Of CIFAR-100, one each of ten superclasses: bed, bicycle, bridge, dolphin, fox, lion, orange,
# rocket, sunflower, wolf have the indices 5, 8, 12, 30, 34, 43, 53, 69, 82, 97.
TEN_CLASSES = [5, 8, 12, 30, 34, 43, 53, 69, 82, 97]
RESNET_8 = {  # of 8, 16, 32 channels
    'model.backbone': {'_delete_': True, 'type': 'CIFARResNet', 'depth': 8, 'width': 0.5},
    'model.head.in_channels': 32,
}


def _both(**options: Any) -> dict[str, Any]:
    """Options of the training and of the test data set, which know each other's counts."""
    return {
        f'{loader}_dataloader.dataset.{name}': value
        for loader in ('train', 'val')
        for name, value in options.items()
    }


def _balanced(images: int) -> dict[str, Any]:
    """So many training images of each class."""
    return _both(imbalance='exp', imbalance_factor=1, n_max=images)


def _run(epochs: int, batch: int, lr: float, checkpoint: int = 2) -> dict[str, Any]:
    return {
        'train_cfg.max_epochs': epochs,
        'train_dataloader.batch_size': batch,
        'optim_wrapper.optimizer.lr': lr,
        'default_hooks.checkpoint.interval': checkpoint,
    }


TEN = _both(type='CIFAR100LT', keep_classes=TEN_CLASSES, verify=False)
MNIST = {
    **RESNET_8,
    **_balanced(200),
    'val_dataloader.dataset.test_per_class': 100,
    'model.data_preprocessor.pad': 0,  # 28 x 28
}
AT_THE_END = {'default_hooks.measures.interval': 1000, 'train_cfg.val_interval': 1000}
# One view, crops and flips: with three mixed ones nothing is learnt in so few epochs.
LONG_TAILED = {
    **RESNET_8,
    **_both(verify=False),
    **_run(24, 64, 0.1, checkpoint=6),
    'train_cfg.val_interval': 8,
    'train_dataloader.batch_sampler.type': 'GlobalBatchSampler',
    'model.data_preprocessor.mix': [],
    'model.data_preprocessor.augment': [
        {'type': 'BatchPadCrop', 'padding': 4},
        {'type': 'BatchFlip'},
    ],
}


BATCHES = (16, 32, 64, 256, 512)  # as published; 128 is the run of every table
RATES = {'sgd': 0.05, 'adamw': 0.01}  # at batch size 32


def _batches() -> Rules:
    """A quarter of the published batch sizes, with rates proportional to them as in Table 11.
    Larger ones take too few steps over 2,000 images to learn anything.
    """
    left_out: Rules = (('*/batch/1024', None), ('*/batch/2048', None))
    return left_out + tuple(
        (f'mnist/r18/*/{optimizer}/batch/{batch}', _run(20, batch // 4, lr * batch / 128))
        for batch in BATCHES
        for optimizer, lr in RATES.items()
    )


# (pattern of keys, what labels of a table's row become)
STANDS_FOR: StandsFor = (
    ('*/r18/*', {'ResNet-18': 'ResNet-8 (for ResNet-18)'}),
    ('mnist/*', {'MNIST': 'MNIST, 2,000 images'}),
    ('mnist/*/nc', {'128': '32 (for 128)'}),
    *((f'*/batch/{batch}', {str(batch): f'{batch // 4} (for {batch})'}) for batch in BATCHES),
    ('cifar10/*/nc', {'CIFAR-10': 'MNIST, 2,000 images (for CIFAR-10)'}),
    ('cifar10/*/da?', {'CIFAR-10': 'CIFAR-100, 10 classes (for CIFAR-10)'}),
)
NOTES = (
    'Small scale: ResNet-8 with half of its 16, 32, 64 channels in the place of the published '
    'network, few epochs, larger rates. 2,000 training images of MNIST; these also for the neural '
    'collapse on CIFAR-10, ten classes of CIFAR-100 for the classification on CIFAR-10. '
    'CIFAR-100-LT with one view, crops and flips. The config beside each run, and the JSON file of '
    'this table, have every change.',
)

SMALL: Rules = (
    ('mnist/r18/*', MNIST),
    ('mnist/r18/*/sgd/*', _run(10, 32, RATES['sgd'])),
    ('mnist/r18/*/adamw/*', _run(10, 32, RATES['adamw'])),
    ('mnist/r18/*/nc', {'train_cfg.max_epochs': 20}),
    ('mnist/r18/*/bias_mean/*', AT_THE_END),
    ('mnist/r18/*/lambda_b/*', AT_THE_END),
    # an AdamW step moves a bias by the rate at most: from 10 to 0 in 630 steps
    ('mnist/r18/*/adamw/bias_mean/*', {'optim_wrapper.optimizer.lr': 0.04}),
    ('mnist/r18/*/adamw/lambda_b/*', {'optim_wrapper.optimizer.lr': 0.04}),
    *_batches(),
    ('cifar10/r18/*/nc', {**MNIST, **_both(type='MNISTLT')}),
    ('cifar10/r18/*/sgd/nc', _run(20, 32, RATES['sgd'])),
    ('cifar10/r18/*/adamw/nc', _run(20, 32, RATES['adamw'])),
    ('cifar10/r18/*/da?', {**RESNET_8, **TEN}),
    ('cifar10/r18/*/sgd/da?', _run(20, 64, 0.05)),
    ('cifar10/r18/*/adamw/da?', _run(20, 64, 0.005)),
    ('cifar100lt/*/ce_joint', LONG_TAILED),
    ('cifar100lt/*/bce_joint', LONG_TAILED),
    ('normalized/*', {**RESNET_8, **_both(verify=False)}),
    ('normalized/cifar100_r18/*', {**TEN, 'model.head.num_classes': 10, **_run(20, 64, 0.05)}),
    ('normalized/cifar100lt_if100_r32/*', {**_run(8, 64, 0.05), 'train_cfg.val_interval': 8}),
)
