"""Twenty steps in float64 with BatchNorm frozen, by one process or by several gloo processes.

Global batches of 12 samples; each epoch ends with one of 5, shared unevenly, or (``N_TINY``) of 1,
for which the ranks that have none show their network a stand-in.
"""

from __future__ import annotations

import gc
from types import SimpleNamespace

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import DATA_SAMPLERS as _ROOT  # noqa: F401  (registers MMEngine's own)
from mmengine.registry import DefaultScope
from torch import distributed, multiprocessing

from bce3s.engine.lazy_sgd import LazySGD
from bce3s.engine.run_state import RunStateHook
from bce3s.models.classifier import LongTailedClassifier
from bce3s.models.data_parallel import BCE3SDataParallel
from bce3s.randomness import Clock
from bce3s.registry import DATA_SAMPLERS
from bce3s.samplers import GlobalBatchSampler, PairedBatchSampler

K, BATCH, N, N_TINY, EPOCHS, SECOND_STAGE = 10, 12, 41, 37, 5, 3  # 4 steps an epoch
NATURAL = dict(type='NaturalSampler')
PAIRED = dict(type='PairedBatchSampler', partner=dict(type='PowerSampler', q=0.2))
MIX = dict(mix=[dict(type='PairedMixUp'), dict(type='PairedCutMix')])
SCALED = dict(type='LinearClassifier', normalize_feature=True, scale=4.0)
QUIRKS = dict(soft_negatives=False, clamp=64.0)


def head(kind, **options):
    """Three branches, all BCE or all CE."""
    joint = dict(resample=0.4) if kind == 'BCE' else {}
    branches = {
        name.lower(): dict(type=f'{kind}{name}') for name in ('Joint', 'Contrastive', 'Uniformity')
    }
    branches['joint'] |= joint
    return dict(branches, **options)


def variant(head, views=MIX, sampler=NATURAL, batches=PAIRED, samples=N, **model):
    return SimpleNamespace(
        head=head, views=views, sampler=sampler, batches=batches, samples=samples, model=model
    )


ALONE = dict(type='GlobalBatchSampler')
SAMPLED = head(
    'BCE',
    joint=dict(type='BCEJoint'),
    type='SampledTripartiteHead',
    sample_rate=0.5,
    classifier=dict(type='SampledClassifier'),
)
CLASSIFIER = dict(type='LinearClassifier', normalize_weight=False, bias_mean=1.0)
DECAY = dict(weight=0.03, feature=0.002, bias=0.05)
WITHIN = dict(batch_mix=dict(type='MixUpOrCutMix', prob=0.8), label_smoothing=0.1)
GLMC = dict(
    views=dict(mixup=dict(mix=dict(type='PairedMixUp')), cutmix=dict(mix=dict(type='PairedCutMix')))
)
SIMCLR = dict(views=dict(origin=dict(), first=dict(), second=dict()))
VARIANTS = {
    'BCE3S': variant(head('BCE')),
    'two stages': variant(head('BCE')),
    'official': variant(
        head(
            'BCE',
            joint=dict(type='BCEJoint', resample=0.4, drop_positives=True, **QUIRKS),
            contrastive=dict(type='BCEContrastive', start_epoch=1, **QUIRKS),
            uniformity=dict(type='BCEUniformity', include_diagonal=True),
        )
    ),
    'H2T and LWS, two stages': variant(
        dict(
            type='H2THead',
            joint=dict(type='CEJoint'),
            classifier=dict(type='LWSClassifier', train_weights=True, normalize_weight=False),
        ),
        views=dict(finetune_mix=[dict(type='PairedPartner')]),
    ),
    'sampled': variant(SAMPLED),
    'sampled, two stages': variant(SAMPLED),
    'CE TSL, class-balanced': variant(head('CE'), sampler=dict(type='PowerSampler', q=1)),
    'CE and decay, square root': variant(
        dict(joint=dict(type='CEJoint'), decay=DECAY, classifier=CLASSIFIER),
        views={},
        sampler=dict(type='PowerSampler', q=0.5),
        batches=ALONE,
    ),
    'mixed within, q = 0.7': variant(
        dict(
            joint=dict(type='BCEJoint'),
            classifier=dict(type='LinearClassifier', normalize_feature=True, scale=4.0),
        ),
        views=WITHIN,
        sampler=dict(type='PowerSampler', q=0.7),
        batches=ALONE,
    ),
    'smoothed, progressive': variant(
        head('BCE', decay=DECAY),
        views=dict(MIX, label_smoothing=0.1),
        sampler=dict(type='ProgressiveSampler', epochs=EPOCHS),
        batches=dict(type='PairedBatchSampler', partner=dict(type='PowerSampler', q=1)),
    ),
    'effective number': variant(head('BCE'), sampler=dict(type='EffectiveNumberSampler', beta=0.9)),
    'tiny last batch': variant(head('BCE'), samples=N_TINY),
    'tiny last batch, sampled': variant(SAMPLED, samples=N_TINY),
    'tiny last batch, mixed within': variant(
        dict(joint=dict(type='CEJoint')), views=WITHIN, batches=ALONE, samples=N_TINY
    ),
    'GLMC': variant(dict(type='GLMCHead', joint=dict(type='CEJoint')), GLMC),
    'experts': variant(
        dict(
            type='ExpertsHead',
            joint=[dict(type='CEJoint'), dict(type='LogitAdjustedCE')],
            weights=dict(diversity=-0.2),
            classifier=dict(type='ExpertsClassifier', experts=2),
        ),
        views={},
        batches=ALONE,
    ),
    'tiny last batch, BCL': variant(
        dict(type='BCLHead', joint=dict(type='CEJoint')), SIMCLR, batches=ALONE, samples=N_TINY
    ),
    'tiny last batch, ProCo': variant(
        dict(type='ProCoHead', joint=dict(type='CEJoint')), SIMCLR, batches=ALONE, samples=N_TINY
    ),
}


def make_data(samples):
    gen = torch.Generator().manual_seed(0)
    labels = torch.cat([torch.arange(K), torch.randint(4, (samples - K,), generator=gen)])
    images = torch.randint(256, (samples, 1, 8, 8), generator=gen, dtype=torch.uint8)
    counts = torch.bincount(labels, minlength=K).tolist()
    metainfo = dict(class_counts=counts, classes=[str(k) for k in range(K)])
    return SimpleNamespace(images=images, labels=labels, metainfo=metainfo)


def make_model(name, data):
    chosen, more = VARIANTS[name], 50 if 'sampled' in name else 0  # classes to leave out
    head = dict(type='TripartiteHead', projection_dim=16) | chosen.head
    if head['type'] == 'ExpertsHead':
        del head['projection_dim']
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('bce3s'):
        model = LongTailedClassifier(
            backbone=dict(type='CIFARResNet', depth=8, width=0.5, in_channels=1),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(
                num_classes=K + more,
                in_channels=32,
                beta=0.9,
                **head,
            ),
            data_preprocessor=dict(
                type='LongTailedPreprocessor',
                mean=(0.5,),
                std=(0.3,),
                augment=[dict(type='BatchPadCrop', padding=1), dict(type='BatchFlip')],
                **chosen.views,
            ),
            **chosen.model,
        )
    model.double().head.set_class_counts(data.metainfo['class_counts'] + [1] * more)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():  # statistics of these images, from here on frozen
        model.backbone(model.data_preprocessor.normalize(data.images))
    return model


def train(name, ranks=1):
    """The steps of this process: losses, samples a step, weights and buffers in the end."""
    chosen = VARIANTS[name]
    data, stages = make_data(chosen.samples), name.endswith('two stages')
    model = network = make_model(name, data)
    if ranks > 1:
        options = dict(device_ids=None, broadcast_buffers=False, find_unused_parameters=stages)
        network = BCE3SDataParallel(model, **options)
    kind = LazySGD if 'sampled' in name else torch.optim.SGD
    optim = OptimWrapper(kind(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-3))
    sampler = DATA_SAMPLERS.build(dict(chosen.sampler, dataset=data, seed=1))
    kind, options = chosen.batches['type'], dict(chosen.batches, batch_size=BATCH // ranks)
    options.pop('type')
    kind = {'PairedBatchSampler': PairedBatchSampler, 'GlobalBatchSampler': GlobalBatchSampler}[
        kind
    ]
    batches, losses, sizes = kind(sampler, **options), [], []
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        if stages and epoch == SECOND_STAGE:
            model.finetune_classifier()
            if 'sampled' in name:
                model.head.classifier.catch_up()
            optim.optimizer.state.clear()
        network.train()
        model.backbone.eval()
        for module in model.head.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.eval()
        for i, indices in enumerate(batches):
            preprocessor = model.data_preprocessor
            preprocessor.clock = Clock(1, epoch, epoch * len(batches) + i, EPOCHS)
            known = epoch or chosen.samples == N_TINY
            preprocessor.sizes = batches.sizes(i) if known else None  # None: the ranks ask
            samples = dict(labels=data.labels[indices], indices=torch.tensor(indices))
            batch = dict(inputs=data.images[indices], data_samples=samples)
            log = network.train_step(batch, optim)
            losses.append({k: v.item() for k, v in log.items()})
            sizes.append(len(indices) // (1 + preprocessor.paired))  # with a stand-in for none
    return dict(losses=losses, sizes=sizes, state=model.state_dict())


def broadcast_buffers(rank):
    """What the hook does at the end of an epoch, with buffers that differ by rank."""
    module = torch.nn.Module()
    for name, value in dict(
        mean=torch.full((3,), float(rank)),
        seen=torch.tensor([rank == 0]),
        count=torch.tensor(rank),
    ).items():
        module.register_buffer(name, value)
    RunStateHook().after_train_epoch(SimpleNamespace(model=module))
    return {name: value.tolist() for name, value in module.named_buffers()}


def worker(rank, folder, sizes, names):
    """The variants on each number of ranks: the first so many of the same processes."""
    torch.set_num_threads(1)
    for ranks in sizes:
        if rank >= ranks:
            continue
        store = f'file://{folder}/store{ranks}'
        distributed.init_process_group('gloo', init_method=store, rank=rank, world_size=ranks)
        result = {name: train(name, ranks) for name in names}
        result['buffers'] = broadcast_buffers(rank)
        torch.save(result, f'{folder}/{ranks}ranks{rank}.pth')
        gc.collect()  # gloo aborts at exit where a wrapper outlives the process group
        distributed.barrier()
        distributed.destroy_process_group()


def run_on_ranks(folder, sizes, names):
    """``{ranks: [result of rank 0, ...]}``; a result has the run of each variant, and 'buffers'."""
    multiprocessing.spawn(worker, (str(folder), sizes, names), nprocs=max(sizes))
    return {
        n: [torch.load(folder / f'{n}ranks{r}.pth', weights_only=True) for r in range(n)]
        for n in sizes
    }
