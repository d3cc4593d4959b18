"""Twenty steps in float64 with BatchNorm frozen, to be the same however the work is divided."""

from __future__ import annotations

import gc
from collections.abc import Callable
from types import SimpleNamespace

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from torch import distributed, multiprocessing

from bce3s.engine.lazy_sgd import LazySGD
from bce3s.models.classifier import LongTailedClassifier
from bce3s.models.data_parallel import BCE3SDataParallel
from bce3s.randomness import Clock
from bce3s.samplers import GlobalBatchSampler, NaturalSampler, PairedBatchSampler

K, N, BATCH, EPOCHS = 10, 113, 12, 2  # 9 batches of 12 and one of 5, twice
MIX = dict(mix=[dict(type='PairedMixUp'), dict(type='PairedCutMix')])
SCALED = dict(type='LinearClassifier', normalize_feature=True, scale=4.0)
QUIRKS = dict(soft_negatives=False, clamp=64.0)
BCE3S = dict(
    joint=dict(type='BCEJoint', resample=0.4),
    contrastive=dict(type='BCEContrastive'),
    uniformity=dict(type='BCEUniformity'),
)
SAMPLED = dict(
    type='SampledTripartiteHead', sample_rate=0.5, classifier=dict(type='SampledClassifier')
)
HEADS = {
    'bce3s': BCE3S,
    'two stages': BCE3S,
    'several labels, two stages': BCE3S
    | dict(uniformity=dict(type='BCEUniformity', cooccurrence=True)),
    'official': dict(
        joint=dict(type='BCEJoint', resample=0.4, drop_positives=True, **QUIRKS),
        contrastive=dict(type='BCEContrastive', start_epoch=1, **QUIRKS),
        uniformity=dict(type='BCEUniformity', include_diagonal=True),
    ),
    'sampled': BCE3S | dict(joint=dict(type='BCEJoint'), **SAMPLED),
    'sampled, two stages': BCE3S | dict(joint=dict(type='BCEJoint'), **SAMPLED),
    'CE TSL': dict(
        joint=dict(type='CEJoint'),
        contrastive=dict(type='CEContrastive'),
        uniformity=dict(type='CEUniformity'),
    ),
    'CE': dict(joint=dict(type='CEJoint')),
    'H2T and LWS, two stages': dict(
        type='H2THead',
        joint=dict(type='CEJoint'),
        classifier=dict(type='LWSClassifier', train_weights=True),
    ),
    'decay': BCE3S | dict(decay=dict(weight=0.03, feature=0.002, bias=0.05)),
    'mixed': dict(
        joint=dict(type='BCEJoint'),
        classifier=dict(type='LinearClassifier', normalize_feature=True, scale=4.0),
    ),
}
HEADS['NC-DRW'] = dict(  # from the second epoch on
    joint=dict(type='LDAM', scale=4.0),
    classifier=SCALED,
    reweight=dict(type='EffectiveNumberWeights', beta=0.9, start=0.5),
    centers=dict(compactness=0.1),
)
HEADS['rotated ETF'] = dict(
    joint=dict(type='DotRegression'),
    classifier=dict(type='RotatedETFClassifier', scale=1.0),
    reweight=dict(type='BatchBalancedWeights'),
)
GLMC = dict(
    mixup=dict(mix=dict(type='PairedMixUp')),
    cutmix=dict(mix=dict(type='PairedCutMix', correct_lambda=False)),
)
SIMCLR = dict(
    origin=dict(),
    first=dict(augment=[dict(type='BatchResizedCrop')]),
    second=dict(augment=[dict(type='BatchResizedCrop')]),
)
RIVALS = {
    'GLMC': (dict(type='GLMCHead', joint=dict(type='CEJoint'), projection_dim=16), GLMC),
    'ProCo': (dict(type='ProCoHead', joint=dict(type='CEJoint'), hidden=16), SIMCLR),
    'BCL': (dict(type='BCLHead', joint=dict(type='CEJoint'), projection_dim=16), SIMCLR),
    'experts': (
        dict(
            type='ExpertsHead',
            joint=dict(type='LDAM', scale=4.0),
            weights=dict(joint=0.5, diversity=-0.2),
            reweight=dict(type='EffectiveNumberWeights', beta=0.9, start=0.5),
            classifier=dict(type='ExpertsClassifier', experts=2, scale=4.0),
        ),
        dict(origin=dict()),
    ),
}
WHOLE = ('ProCo', 'BCL')  # which look at all samples of a batch at once
HEADS |= {name: head for name, (head, _) in RIVALS.items()}
VIEWS = {name: dict(views=views) for name, (_, views) in RIVALS.items()}


def make_data(variant=''):
    gen = torch.Generator().manual_seed(0)
    labels = torch.cat([torch.arange(K), torch.randint(4, (N - K,), generator=gen)])
    images = torch.randint(256, (N, 1, 8, 8), generator=gen, dtype=torch.uint8)
    counts = torch.bincount(labels, minlength=K).tolist()
    if variant.startswith('several'):  # none to three of them, some unknown
        u = torch.rand(N, K, generator=gen)
        more = (u < torch.linspace(0.3, 0.05, K)).char() - (u > 0.95).char()
        labels = torch.where(torch.arange(N)[:, None] == torch.arange(K), torch.tensor(1), more)
        labels, counts = labels.char(), (labels == 1).sum(0).tolist()
    metainfo = dict(class_counts=counts, classes=[str(k) for k in range(K)])
    return SimpleNamespace(images=images, labels=labels, metainfo=metainfo)


def paired(variant):
    return variant not in ('CE', 'mixed') and 'mix' in str(VIEWS.get(variant, 'mix'))


def make_model(variant, head=None, **options):
    rival = variant in RIVALS
    data, more = make_data(variant), 50 if 'sampled' in variant else 0  # classes to leave out
    torch.manual_seed(0)
    views = MIX if paired(variant) else {}
    if variant.startswith('H2T'):
        views = dict(finetune_mix=[dict(type='PairedPartner')])
    if variant == 'mixed':
        views = dict(batch_mix=dict(type='MixUpOrCutMix', prob=1.0), label_smoothing=0.1)
    views = VIEWS.get(variant, views)
    with DefaultScope.overwrite_default_scope('bce3s'):
        model = LongTailedClassifier(
            backbone=dict(type='CIFARResNet', depth=8, in_channels=1),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(
                num_classes=K + more,
                in_channels=64,
                beta=0.9,
                **({} if rival else dict(projection_dim=16)),
                **dict(type='TripartiteHead') | HEADS[variant] | (head or {}),
            ),
            data_preprocessor=dict(
                type='LongTailedPreprocessor',
                mean=(0.5,),
                std=(0.3,),
                augment=[dict(type='BatchPadCrop', padding=1), dict(type='BatchFlip')],
                **views,
            ),
            **options,
        )
    model.double().head.set_class_counts(data.metainfo['class_counts'] + [1] * more)
    if variant.startswith('several'):
        model.head.set_several_labels(data.labels)
    with torch.no_grad():  # statistics of these images, from here on frozen
        for _ in range(30):
            model.backbone(model.data_preprocessor.normalize(data.images))
    return model


def wrapped(model, variant):
    if not distributed.is_initialized():
        return model
    return BCE3SDataParallel(
        model,
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=variant.endswith('two stages'),
    )


def optimizer(model, variant, **options):
    kind = LazySGD if 'sampled' in variant else torch.optim.SGD
    sgd = kind(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-3)
    return OptimWrapper(sgd, **options)


def train(model, variant, optim=None, epochs=range(EPOCHS)):
    """This process's slices of some epochs -> losses of each step."""
    data, network, losses = make_data(variant), wrapped(model, variant), []
    optim = optim or optimizer(model, variant)
    ranks = distributed.get_world_size() if distributed.is_initialized() else 1
    kind = PairedBatchSampler if paired(variant) else GlobalBatchSampler
    more = dict(partner=dict(type='PowerSampler', q=0.2)) if paired(variant) else {}
    batches = kind(NaturalSampler(data, 1), BATCH // ranks, **more)
    for epoch in epochs:
        batches.sampler.set_epoch(epoch)
        if variant.endswith('two stages') and epoch == 1:
            model.finetune_classifier()
            if 'sampled' in variant:
                model.head.classifier.catch_up()
            optim.optimizer.state.clear()
        network.train()
        model.backbone.eval()
        for module in model.head.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.eval()
        for step, indices in enumerate(batches, epoch * len(batches)):
            model.data_preprocessor.clock = Clock(1, epoch, step, EPOCHS)
            samples = dict(labels=data.labels[indices], indices=torch.tensor(indices))
            batch = dict(inputs=data.images[indices], data_samples=samples)
            log = network.train_step(batch, optim)
            losses.append({k: v.item() for k, v in log.items()})
    return losses


def same_losses(expected, *ranks):
    """The mean over ``ranks`` is ``expected``, step by step, to 1e-5."""
    assert len(expected) == len(ranks[0])
    for step, (one, *parts) in enumerate(zip(expected, *ranks, strict=True)):
        for part in parts:
            assert list(part) == list(one)
        for name, value in one.items():
            mean = sum(part[name] for part in parts) / len(parts)
            assert abs(mean - value) <= 1e-5 * abs(value) + 1e-9, (step, name, mean, value)


def same_state(expected, state):
    """Weights, bank and counts, to 1e-5."""
    assert list(state) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(state[name], value, rtol=1e-5, atol=1e-8, msg=name)


def _worker(rank: int, ranks: int, folder: str, work: Callable) -> None:
    torch.set_num_threads(1)
    store = f'file://{folder}/store{ranks}'
    distributed.init_process_group('gloo', init_method=store, rank=rank, world_size=ranks)
    torch.save(work(), f'{folder}/rank{rank}.pth')
    gc.collect()  # gloo aborts at exit where a wrapper outlives the process group
    distributed.barrier()
    distributed.destroy_process_group()


def on_ranks(ranks: int, work: Callable, folder) -> list:
    """What ``work()`` returns in each of so many gloo processes."""
    multiprocessing.spawn(_worker, (ranks, str(folder), work), nprocs=ranks)
    return [torch.load(folder / f'rank{r}.pth', weights_only=True) for r in range(ranks)]
