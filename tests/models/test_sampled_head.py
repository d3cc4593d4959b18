"""The head with sampled classes: the losses of a smaller head, the steps of a dense one."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_gpu import fake_gpu, to_fake_gpu
from torch.utils._python_dispatch import TorchDispatchMode

from bce3s.engine.lazy_sgd import LazySGD
from bce3s.errors import BCE3SError
from bce3s.losses.resampling import sample_classes
from bce3s.models import SampledTripartiteHead, TripartiteHead
from bce3s.models.share import Share
from bce3s.models.targets import Targets
from bce3s.randomness import Clock

K, B, D = 60, 4, 8
LABELS, PARTNERS, LAM = [41, 4, 41, 0], [3, 4, 55, 41], [1.0, 0.3, 0.6]
BCE3S = dict(
    joint=dict(type='BCEJoint'),
    contrastive=dict(type='BCEContrastive', tau=0.5),
    uniformity=dict(type='BCEUniformity'),
)
OFFICIAL = dict(
    joint=dict(type='BCEJoint', soft_negatives=False, clamp=2.0),
    contrastive=dict(type='BCEContrastive', soft_negatives=False, clamp=0.5),
    uniformity=dict(type='BCEUniformity', include_diagonal=True),
)
CE_TSL = dict(
    joint=dict(type='CEJoint'),
    contrastive=dict(type='CEContrastive'),
    uniformity=dict(type='CEUniformity'),
)
CASES = [BCE3S, OFFICIAL, CE_TSL, dict(joint=dict(type='CEJoint'))]


def head_of(num_classes, r, dim=D, **options):
    options['classifier'] = dict(options.get('classifier', {}), type='LinearClassifier')
    if r == 1:
        return TripartiteHead(num_classes, dim, **options)
    options['classifier']['type'] = 'SampledClassifier'
    return SampledTripartiteHead(num_classes, dim, sample_rate=r, **options)


def build(num_classes=K, r=1.0, config=BCE3S, **options):
    torch.manual_seed(0)
    head = head_of(num_classes, r, **config, **options).double()
    head.set_class_counts(range(1, num_classes + 1))
    if head.contrastive is not None:  # every third class has been seen
        seen = torch.arange(0, num_classes, 3)
        rows = torch.randn(len(seen), D, dtype=torch.float64)
        head.bank.update(head.projector(rows), seen)
    return head


def targets(labels=LABELS, partners=PARTNERS, clock=Clock(3, 0, 5), **options):  # noqa: B008
    labels, partners = torch.tensor(labels), torch.tensor(partners)
    lam, share = torch.tensor(LAM, dtype=torch.float64), Share((len(labels),))
    names = ('origin', 'mixup', 'cutmix')
    return Targets(labels, names, lam, partners, labels, share, clock, **options)


def feats(rows=3 * B, seed=1):
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(rows, D, generator=gen, dtype=torch.float64).requires_grad_()


def drawn(r, labels=(*LABELS, *PARTNERS), clock=Clock(3, 0, 5)):  # noqa: B008
    return sample_classes(torch.tensor(labels), K, r, clock.numpy('negatives'))


def restricted(head, classes, config, **options):
    """A head of the sampled classes alone, with the rows that ``head`` has of them."""
    small = build(len(classes), config=config, **options)
    state = head.state_dict()
    rows = [name for name in state if name.startswith(('classifier', 'bank')) or 'class_' in name]
    small.load_state_dict({k: v[classes] if k in rows else v for k, v in state.items()})
    small.class_weights.copy_(head.class_weights[classes])
    return small


def same_losses_and_gradients(head, small, classes, ours, theirs, x):
    """Values; gradients of features, projector and sampled rows; and none of the other rows."""
    losses, expected = ours(head), theirs(small)
    assert list(losses) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-12, atol=1e-12)
    grads = []
    for module, values in ((head, losses), (small, expected)):
        module.zero_grad()
        x.grad = None
        sum(values.values()).backward()
        grads.append([x.grad, *(p.grad for p in module.parameters() if p.grad is not None)])
    for one, other in zip(*grads, strict=True):
        if one.is_sparse:
            assert torch.equal(one.coalesce().indices()[0], classes)
            one = one.coalesce().values()
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    assert head.classifier.weight.grad.is_sparse
    assert head.classifier.bias.grad.is_sparse


@pytest.mark.parametrize('config', CASES)
@pytest.mark.parametrize('r', [0.05, 0.3, 0.999])
@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_it_is_the_head_of_thesampled_classes(config, r, smoothing):
    """r = 0.05: int(K r) = 3 classes, fewer than the 8 labels and partners."""
    if smoothing and config is OFFICIAL:
        config = BCE3S
    options = dict(classifier=dict(normalize_feature=True, scale=3.0))
    head, classes, x = build(K, r, config, **options), drawn(r), feats()
    small = restricted(head, classes, config, **options)
    assert len(classes) == max(8, int(K * r))
    assert {*LABELS, *PARTNERS} <= set(classes.tolist())
    place = {k: i for i, k in enumerate(classes.tolist())}
    names = ([place[k] for k in y] for y in (LABELS, PARTNERS))
    renamed = targets(*names, label_smoothing=smoothing)
    same_losses_and_gradients(
        head,
        small,
        classes,
        lambda head: head.loss(x, targets(label_smoothing=smoothing)),
        lambda small: small.loss(x, renamed),
        x,
    )
    if head.contrastive is not None:  # the bank is written at the right rows
        assert torch.equal(head.bank.features[classes], small.bank.features)
        assert torch.equal(head.bank.filled[classes], small.bank.filled)
        assert head.bank.filled.sum() == 20 + 2 + 0  # 4 and 41 are new, 0 is a third class


@pytest.mark.parametrize('finetune', [None, dict(type='CEJoint')])
def test_the_second_stage_and_a_batch_without_partners(finetune):
    r, labels = 0.2, torch.tensor(LABELS)
    head, x = build(K, r, finetune=finetune), feats(B)
    classes = drawn(r, LABELS)
    small = restricted(head, classes, BCE3S, finetune=finetune)
    head.finetune(), small.finetune()
    place = {k: i for i, k in enumerate(classes.tolist())}
    same_losses_and_gradients(
        head,
        small,
        classes,
        lambda head: head.loss(x, Targets.plain(labels, Clock(3, 0, 5))),
        lambda small: small.loss(
            x, Targets.plain(torch.tensor([place[k] for k in LABELS]), Clock())
        ),
        x,
    )


@pytest.mark.parametrize('config', CASES)
def test_all_classes_sampled_is_the_dense_head(config):
    """Sixty labels and partners of sixty classes leave nothing to sample."""
    gen = torch.Generator().manual_seed(4)
    labels, partners = torch.randperm(K, generator=gen).split(K // 2)
    batch, x = targets(labels.tolist(), partners.tolist()), feats(3 * K // 2)
    sampled, dense = build(K, 0.1, config), build(K, 1.0, config)
    losses = [head.loss(x, batch) for head in (sampled, dense)]
    for name, value in losses[1].items():
        torch.testing.assert_close(losses[0][name], value, rtol=1e-12, atol=1e-12)
    for values in losses:
        sum(values.values()).backward()
    for one, other in zip(sampled.parameters(), dense.parameters(), strict=True):
        torch.testing.assert_close(one.grad.to_dense(), other.grad, rtol=1e-9, atol=1e-12)


def test_all_logits_where_nothing_is_trained():
    x = feats(5)
    head = build(K, 0.1)
    assert torch.equal(head(x), build(K)(x))
    assert head(x).shape == (5, K)
    assert torch.equal(head.classifier.linear()[0], build(K).classifier.linear()[0])


@pytest.mark.parametrize('sizes', [(2, 2), (1, 2, 1)])
def test_ranks_sample_the_same_classes(sizes, monkeypatch):
    """Their own labels and partners are a part only."""
    whole, head = targets(), build(K, 0.3)
    partners = whole.partners.split(sizes)
    padded = [torch.cat([p, p.new_zeros(max(sizes) - len(p))]) for p in partners]
    monkeypatch.setattr('bce3s.models.share.all_gather', lambda _: padded)
    for rank in range(len(sizes)):
        own = whole.labels.split(sizes)[rank]
        share = Share(sizes, rank)
        part = replace(whole, labels=own, partners=partners[rank], share=share)
        assert torch.equal(head.sampled_classes(part), drawn(0.3))


def test_a_step_is_a_function_of_seed_and_step():
    head = build(K, 0.3)

    def classes(*moment):
        return head.sampled_classes(targets(clock=Clock(*moment))).tolist()

    assert classes(1, 0, 2) == classes(1, 7, 2)
    assert classes(1, 0, 2) != classes(1, 0, 3)
    assert classes(1, 0, 2) != classes(2, 0, 2)


# ------------------------------------------------------------------------------- size


class Largest(TorchDispatchMode):
    """The largest tensor that is made, in numbers; sparse ones have no numbers of their own."""

    def __init__(self, known):
        super().__init__()
        self.known = {t.untyped_storage().data_ptr() for t in known}
        self.numbers, self.name = 0, None

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        results = func(*args, **kwargs or {})
        for result in results if isinstance(results, tuple | list) else (results,):
            if isinstance(result, torch.Tensor) and result.layout == torch.strided:
                storage = result.untyped_storage()
                if storage.data_ptr() not in self.known:
                    size = storage.nbytes() // result.element_size()
                    if size > self.numbers:
                        self.numbers, self.name = size, str(func)
        return results


@pytest.mark.parametrize('config', [BCE3S, CE_TSL])
def test_nothing_as_large_as_the_classes_is_made(config):
    """Forward, backward, optimiser and bank: no tensor of K numbers or more, K = 100,000; the
    largest is the table of the optimiser's past steps.
    """
    classes = 100_000
    torch.manual_seed(0)
    head = head_of(classes, 3e-4, projection_dim=D, **config)
    optimizer = LazySGD(head.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    batch = targets([99_999, 4, 4, 0], [3, 4, 55_555, 9])

    def step():
        x = feats().float().requires_grad_()
        sum(head.loss(x, batch).values()).backward()
        optimizer.step()
        optimizer.zero_grad()

    step()  # makes the momentum
    lags = [t for lag in optimizer._lags.values() for t in (lag.last, lag.since)]
    momenta = [state['momentum_buffer'] for state in optimizer.state.values()]
    with Largest([*head.parameters(), *head.buffers(), *momenta, *lags]) as largest:
        step()
    assert 0 < largest.numbers < 10_000, largest.name


@pytest.mark.parametrize('config', CASES)
def test_a_step_does_not_wait_for_a_gpu(config):
    head = head_of(K, 0.3, **config)
    with fake_gpu():
        to_fake_gpu(head)
        labels, partners, lam = (torch.zeros(B, device='cuda', dtype=t) for t in (int, int, float))
        batch = replace(targets(), labels=labels, partners=partners, all_labels=labels, lam=lam[:3])
        head.loss(torch.zeros(3 * B, D, device='cuda'), batch)
        optimizer = LazySGD(head.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
        for _ in range(3):
            for row in (head.classifier.weight, head.classifier.bias):
                rows, values = head.sampled_classes(batch), row.detach()[:18]
                grad = SimpleNamespace(_indices=lambda r=rows: r[None], _values=lambda v=values: v)
                with torch.no_grad():
                    optimizer._sparse_step(row, grad, optimizer.param_groups[0])
            head.loss(torch.zeros(3 * B, D, device='cuda'), batch)
        head.classifier.catch_up()


@pytest.mark.gpu
@pytest.mark.parametrize('config', CASES)
def test_a_whole_step_on_a_gpu(config):
    torch.manual_seed(0)
    head = head_of(K, 0.3, **config).cuda()
    optimizer = LazySGD(head.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    on_gpu = {k: getattr(targets(), k).cuda() for k in ('labels', 'partners', 'all_labels', 'lam')}
    batch, x = replace(targets(), **on_gpu), feats().float().cuda()

    def step():
        sum(head.loss(x, batch).values()).backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    torch.cuda.set_sync_debug_mode('error')
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode('default')


def test_classes_are_learned():
    """Features that carry their class: the loss falls, and the classes are told apart."""
    torch.manual_seed(0)
    classes, centres = 500, torch.randn(500, 32)
    head = head_of(classes, 0.05, dim=32, projection_dim=16, **BCE3S)
    optimizer = LazySGD(head.parameters(), lr=1.0, momentum=0.9, weight_decay=1e-4)
    losses = []
    for number in range(300):
        rng = np.random.default_rng(number)
        labels = torch.from_numpy(rng.integers(classes, size=32))
        x = centres[labels] + 0.1 * torch.randn(32, 32)
        loss = sum(head.loss(x, Targets.plain(labels, Clock(0, 0, number))).values())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert sum(losses[-20:]) < 0.8 * sum(losses[:20])
    assert (head(centres).argmax(1) == torch.arange(classes)).float().mean() > 0.9


def test_refuses():
    for config in (dict(joint=dict(type='BCEJoint', resample=0.4)), BCE3S):
        finetune = dict(type='BCEJoint', resample=0.4)
        with pytest.raises(BCE3SError, match="'resample' would sample among them again"):
            head_of(K, 0.5, finetune=finetune, **config)
    for decay in (dict(weight=0.1), dict(bias=0.1, feature=0.1)):
        with pytest.raises(BCE3SError, match='use the weight_decay of LazySGD'):
            build(K, 0.5, decay=decay)
    assert build(K, 0.5, decay=dict(feature=0.1)).loss(feats(), targets())['loss_decay'] > 0
    for r in (0, 1.5, float('nan')):
        with pytest.raises(BCE3SError, match=r'must be in \(0, 1\].*model.head.sample_rate=0.4'):
            build(K, r)


def test_a_decay_of_the_features_alone_keeps_gradients_sparse():
    head = build(r=0.5, decay=dict(feature=1e-3))
    feats = torch.randn(B, D, dtype=torch.float64)
    sum(head.loss(feats, Targets.plain(torch.tensor(LABELS), Clock())).values()).backward()
    assert head.classifier.weight.grad.is_sparse
    assert head.classifier.bias.grad.is_sparse
