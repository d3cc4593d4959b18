"""Two processes (gloo) take the steps of one: losses, weights and bank, in float64.

BatchNorm is frozen in eval mode, for its batch statistics are those of a rank. The epochs end with
a smaller batch that two ranks share unevenly (2 and 3 samples).
"""

from __future__ import annotations

import gc
from types import SimpleNamespace

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from torch import distributed, multiprocessing

from bce3s.datasets.samplers import NaturalSampler, PairedBatchSampler
from bce3s.engine.lazy_sgd import LazySGD
from bce3s.engine.run_state import RunStateHook
from bce3s.models import LongTailedClassifier
from bce3s.randomness import Clock

K, N, BATCH = 10, 41, 12  # batches of 12, 12, 12 and 5
VARIANTS = ('bce3s', 'two stages', 'official', 'sampled', 'sampled, two stages')


def make_data():
    gen = torch.Generator().manual_seed(0)
    labels = torch.cat([torch.arange(K), torch.randint(4, (N - K,), generator=gen)])
    images = torch.randint(256, (N, 1, 8, 8), generator=gen, dtype=torch.uint8)
    counts = torch.bincount(labels, minlength=K).tolist()
    metainfo = dict(class_counts=counts, classes=[str(k) for k in range(K)])
    return SimpleNamespace(images=images, labels=labels, metainfo=metainfo)


def make_model(data, variant):
    torch.manual_seed(0)
    official, sampled = variant == 'official', 'sampled' in variant
    more = 50 if sampled else 0  # classes without a sample, so that there are some to leave out
    quirks = dict(soft_negatives=False, clamp=64.0) if official else {}
    contrastive = dict(type='BCEContrastive', start_epoch=int(official), **quirks)
    with DefaultScope.overwrite_default_scope('bce3s'):
        model = LongTailedClassifier(
            backbone=dict(type='CIFARResNet', depth=20, in_channels=1),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(
                type='TripartiteHead',
                num_classes=K + more,
                in_channels=64,
                joint=dict(
                    type='BCEJoint',
                    resample=1.0 if sampled else 0.4,
                    drop_positives=official,
                    **quirks,
                ),
                sample_rate=0.5 if sampled else 1.0,
                contrastive=contrastive,
                uniformity=dict(type='BCEUniformity', include_diagonal=official),
                beta=0.9,
            ),
            data_preprocessor=dict(
                type='LongTailedPreprocessor',
                mean=(0.5,),
                std=(0.3,),
                augment=[dict(type='BatchPadCrop', padding=1), dict(type='BatchFlip')],
                mix=[dict(type='PairedMixUp'), dict(type='PairedCutMix')],
            ),
        )
    model.double().head.set_class_counts(data.metainfo['class_counts'] + [1] * more)
    with torch.no_grad():  # statistics of these images, from here on frozen
        for _ in range(30):
            model.backbone(model.data_preprocessor.normalize(data.images))
    return model


def train(variant, batch_size):
    """Two epochs of this process's slices."""
    data, epochs = make_data(), 2
    model = wrapper = make_model(data, variant)
    if distributed.is_initialized():
        wrapper = MMDistributedDataParallel(
            model,
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=variant.endswith('two stages'),
        )
    sgd = LazySGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-3)
    if 'sampled' not in variant:
        sgd = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-3)
    optim, losses, sizes = OptimWrapper(sgd), [], []
    batches = PairedBatchSampler(
        NaturalSampler(data, 1), batch_size, partner=dict(type='PowerSampler', q=0.2)
    )
    for epoch in range(epochs):
        batches.sampler.set_epoch(epoch)
        if variant.endswith('two stages') and epoch == 1:
            model.finetune_classifier()
            model.head.classifier.catch_up()
            sgd.state.clear()
        wrapper.train()
        model.backbone.eval()
        for step, indices in enumerate(batches, epoch * len(batches)):
            model.data_preprocessor.clock = Clock(1, epoch, step)
            samples = dict(labels=data.labels[indices], indices=torch.tensor(indices))
            batch = dict(inputs=data.images[indices], data_samples=samples)
            log = wrapper.train_step(batch, optim)
            losses.append({k: v.item() for k, v in log.items()})
            sizes.append(len(indices) // 2)
    return dict(losses=losses, sizes=sizes, state=model.state_dict())


def broadcast_buffers(rank):
    """What the hook does at the end of an epoch, with buffers that differ by rank."""
    module = torch.nn.Module()
    for name, value in dict(
        mean=torch.full((3,), float(rank)), seen=torch.tensor([rank == 0]), count=torch.tensor(rank)
    ).items():
        module.register_buffer(name, value)
    RunStateHook().after_train_epoch(SimpleNamespace(model=module))
    return {name: value.tolist() for name, value in module.named_buffers()}


def worker(rank, folder):
    torch.set_num_threads(1)
    store = f'file://{folder}/store'
    distributed.init_process_group('gloo', init_method=store, rank=rank, world_size=2)
    result = {variant: train(variant, BATCH // 2) for variant in VARIANTS}
    result['buffers'] = broadcast_buffers(rank)
    torch.save(result, f'{folder}/rank{rank}.pth')
    gc.collect()  # gloo aborts at exit where a wrapper outlives the process group
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp('ranks')
    multiprocessing.spawn(worker, (str(folder),), nprocs=2)
    return [torch.load(folder / f'rank{rank}.pth', weights_only=True) for rank in range(2)]


@pytest.fixture(scope='module')
def one():
    return {variant: train(variant, BATCH) for variant in VARIANTS}


@pytest.mark.parametrize('variant', VARIANTS)
def test_two_processes_take_the_steps_of_one(ranks, one, variant):
    single, (first, second) = one[variant], (r[variant] for r in ranks)
    assert single['sizes'] == [12, 12, 12, 5] * 2
    assert first['sizes'] == [6, 6, 6, 2] * 2
    assert second['sizes'] == [6, 6, 6, 3] * 2
    for expected, a, b in zip(single['losses'], first['losses'], second['losses'], strict=True):
        assert set(a) == set(expected)
        for name, value in expected.items():
            assert (a[name] + b[name]) / 2 == pytest.approx(value, rel=1e-5, abs=1e-9)
    for name, value in single['state'].items():
        torch.testing.assert_close(first['state'][name], value, rtol=1e-5, atol=1e-8)
        assert torch.equal(first['state'][name], second['state'][name]), name


@pytest.mark.parametrize('variant', VARIANTS)
def test_the_runs_did_something(one, variant):
    """Otherwise the comparison above would hold of anything."""
    start, run = make_model(make_data(), variant).state_dict(), one[variant]
    moved = {name for name, value in run['state'].items() if not torch.equal(value, start[name])}
    assert {'backbone.stem.weight', 'head.classifier.weight', 'head.projector.0.bias'} <= moved
    assert not any('running' in name for name in moved)
    assert run['state']['head.bank.filled'][:K].all()
    names = ('joint', 'contrastive', 'uniformity')
    expected = {'loss', *(f'loss_{name}' for name in names)}
    assert set(run['losses'][0]) == expected
    last = {'loss', 'loss_joint'} if variant.endswith('two stages') else expected
    assert set(run['losses'][-1]) == last
    assert all(torch.tensor([*log.values()]).isfinite().all() for log in run['losses'])


def test_rank_zeros_buffers_are_everybodys(ranks):
    for rank in ranks:
        assert rank['buffers'] == dict(mean=[0, 0, 0], seen=[True], count=0)
