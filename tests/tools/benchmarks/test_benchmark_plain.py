"""The plain way computes what ours computes."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from bce3s.augmentation.auto_augment import LEVELS, POLICIES, BatchAutoAugment, strength
from bce3s.augmentation.spatial import BatchCutout, BatchFlip, BatchPadCrop
from bce3s.models.backbones.cifar_resnet import CIFARResNet
from bce3s.models.head import TripartiteHead
from bce3s.models.share import Share
from bce3s.models.targets import Targets
from bce3s.randomness import Clock
from benchmarks import plain

K, D, B = 11, 6, 16
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
VIEWS, LAMS = ('origin', 'mixup', 'cutmix'), (1.0, 0.7, 0.55)


# ------------------------------------------------------------ losses
@pytest.fixture(params=['sound', 'official'])
def quirks(request):
    official = request.param == 'official'
    ours = dict(soft_negatives=False, clamp=64.0) if official else {}
    return official, ours


def both(quirks, method='BCE3S'):
    """Our head and the plain model with the same weights, in float64."""
    official, ours = quirks
    torch.manual_seed(1)
    branches = {}
    if method == 'BCE3S':
        branches = dict(
            contrastive=dict(type='BCEContrastive', **ours),
            uniformity=dict(type='BCEUniformity', include_diagonal=official),
        )
    joint = dict(type='CEJoint') if method == 'CE' else dict(type='BCEJoint', **ours)
    classifier = dict(type='LinearClassifier', normalize_weight=method == 'BCE3S')
    head = TripartiteHead(K, D, joint, classifier=classifier, **branches).double()
    model = plain.PlainModel(
        nn.Identity(), D, K, method, soft_negatives=not official, diagonal=official
    ).double()
    names = {'classifier.weight', 'classifier.bias'}
    state = {
        name: value
        for name, value in head.state_dict().items()
        if name in names or name.startswith('projector')
    }
    model.load_state_dict(state, strict=method != 'BCE3S')
    return head, model


def batch(seed, views=VIEWS, lams=LAMS):
    gen = torch.Generator().manual_seed(seed)
    features = 3 * torch.randn(len(views) * B, D, generator=gen, dtype=torch.float64)
    labels, partners = (torch.randint(K - 2, (B,), generator=gen) for _ in range(2))
    partners[0] = labels[0]
    targets = Targets(
        labels,
        views,
        torch.tensor(lams, dtype=torch.float64),
        partners if len(views) > 1 else None,
        labels,
        Share((B,)),
        Clock(3, 1, seed),
    )
    return features, targets


def gradients(losses, features, *models):
    names = ('classifier.weight', 'classifier.bias', 'projector.0.weight', 'projector.2.bias')
    parameters = [p for m in models for n, p in m.named_parameters() if n in names]
    return torch.autograd.grad(sum(losses.values()), [features, *parameters])


def test_three_branches_their_gradients_and_the_bank_equal_ours(quirks):
    head, model = both(quirks)
    for seed in range(3):  # the bank fills up on the way
        features, targets = batch(seed)
        ours_in, plain_in = (features.clone().requires_grad_() for _ in range(2))
        ours = head.loss(ours_in, targets)
        theirs = model.losses(plain_in, targets.labels, targets.partners, LAMS)
        for name, loss in theirs.items():
            torch.testing.assert_close(loss, ours[f'loss_{name}'], rtol=1e-9, atol=0)
        pairs = zip(gradients(ours, ours_in, head), gradients(theirs, plain_in, model), strict=True)
        for own, their in pairs:
            torch.testing.assert_close(their, own, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(model.bank, head.bank.features, rtol=1e-12, atol=0)
        assert torch.equal(model.filled, head.bank.filled)
    assert 2 < model.filled.sum() < K


def test_sampled_classes_count_on_the_origin_view_only(quirks):
    head, model = both(quirks)
    head.joint.resample = 0.5
    features, targets = batch(0)
    targets = copy.copy(targets)
    object.__setattr__(targets, 'labels', targets.labels % 3)
    object.__setattr__(targets, 'all_labels', targets.labels)
    classes = head.joint.counted(
        features.new_zeros(3, B, K), targets.all_labels, targets.clock.numpy('negatives')
    )[0, 0]
    assert classes.sum() == 5
    ours = head.loss(features, targets)['loss_joint']
    theirs = model.losses(features, targets.labels, targets.partners, LAMS, classes)['joint']
    torch.testing.assert_close(theirs, ours, rtol=1e-9, atol=0)
    every = model.losses(features, targets.labels, targets.partners, LAMS)['joint']
    assert every > theirs


def test_sampled_classes_are_those_of_the_batch_and_random_others():
    labels = torch.tensor([3, 3, 8])
    drawn = torch.stack([plain.sample_classes(labels, 10, 0.4) for _ in range(300)])
    assert (drawn.sum(1) == 4).all()
    assert drawn[:, [3, 8]].all()
    assert drawn.any(0).all()
    assert plain.sample_classes(torch.arange(7), 10, 0.4).sum() == 7  # positives stay


@pytest.mark.parametrize('method', ['CE', 'BCE'])
def test_one_view_equals_ours(method):
    head, model = both((False, {}), method)
    features, targets = batch(5, ('origin',), (1.0,))
    ours, theirs = head.loss(features, targets), model.losses(features, targets.labels)
    assert theirs.keys() == {'joint'}
    torch.testing.assert_close(theirs['joint'], ours['loss_joint'], rtol=1e-9, atol=0)


# ------------------------------------------------------------ augmentation
def test_the_policy_is_ours():
    assert [((a, p, n), (b, q, m)) for a, p, n, b, q, m in plain.POLICY] == [
        tuple(
            (name, prob, row[i * 3 + 2] if level is None else level)
            for i, (name, prob, level) in enumerate(pair)
        )
        for pair, row in zip(POLICIES['cifar10'], plain.POLICY, strict=True)
    ]
    for name, level in itertools.product(LEVELS, range(10)):
        value = plain.RANGES[name][level]
        if name in ('Color', 'Contrast', 'Brightness', 'Sharpness'):
            value = 1 + value
        assert value == pytest.approx(strength(name, level, 1))


class Replay:
    """Takes the place of ``random``, ``np.random`` and ``torch``'s draws: gives those of ``u``."""

    def __init__(self, ops, u):
        self.rows = dict(zip(('crop', 'flip', 'auto', 'cut'), u.split([2, 1, 5, 2]), strict=True))
        self.taken = 0

    def whole(self, name, i, n):
        return min(int(float(self.rows[name][i]) * n), n - 1)

    def crop(self, *_):
        return self.whole('crop', 0, 9), self.whole('crop', 1, 9), 32, 32

    def flip(self, _n):
        return self.rows['flip']

    def randint(self, low, high=None):  # of `random` with two arguments, of NumPy with one
        if high is not None:
            self.taken = 0
            return self.whole('auto', 0, high - low + 1)
        self.cut = getattr(self, 'cut', -1) + 1
        return self.whole('cut', self.cut, low)

    def random(self):
        self.taken += 1
        return float(self.rows['auto'][self.taken])

    def choice(self, signs):
        return signs[int(self.rows['auto'][2 + self.taken] >= 0.5)]


def test_the_pipeline_equals_our_batch_given_the_same_draws(monkeypatch):
    ops = (BatchPadCrop(4), BatchFlip(), BatchAutoAugment(), BatchCutout(16))
    n = 96
    y, x = np.mgrid[:32, :32]
    rng = np.random.default_rng(0)
    smooth = 127 + 60 * np.sin(x / 5 + rng.uniform(0, 6, (n, 3, 1, 1)) + y / 7)
    images = (smooth + rng.uniform(-30, 30, (n, 3, 32, 32))).astype(np.uint8)
    u = torch.rand(n, 10, generator=torch.Generator().manual_seed(0))
    out = torch.from_numpy(images)
    for op, columns in zip(ops, u.split([op.draws for op in ops], 1), strict=True):
        out = op(out, columns)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    expected = (out / 255 - mean) / std
    transform = plain.pipeline(MEAN, STD)
    for image, row, result in zip(images, u, expected, strict=True):
        replay = Replay(ops, row)
        with monkeypatch.context() as patch:
            patch.setattr(plain.transforms.RandomCrop, 'get_params', replay.crop)
            patch.setattr(torch, 'rand', replay.flip)
            patch.setattr(plain, 'random', replay)
            patch.setattr(np.random, 'randint', replay.randint)
            item, label = plain.ImageDataset([image.transpose(1, 2, 0)], [7], transform)[0]
        assert label == 7
        off = ((item - result) * std * 255).abs()
        assert off.max() < 1.01
        assert (off > 0.5).float().mean() < 0.02


# ------------------------------------------------------------ training
def training(method, paired, workers=0):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (24, 32, 32, 3)).astype(np.uint8)
    data = plain.ImageDataset(images, rng.integers(0, K, 24).tolist(), plain.pipeline(MEAN, STD))
    model = plain.PlainModel(CIFARResNet(8, 0.25), 16, K, method)
    loaders = plain.loaders(data, 8, workers, paired)
    return plain.PlainTraining(model, loaders, 'cpu', dict(lr=0.05, momentum=0.9))


@pytest.mark.parametrize(
    ('method', 'losses'),
    [('CE', {'joint'}), ('BCE', {'joint'}), ('BCE3S', {'joint', 'contrastive', 'uniformity'})],
)
def test_steps_change_the_weights_and_sum_the_losses_over_epochs(method, losses):
    run = training(method, method == 'BCE3S')
    before = run.model.backbone.stem.weight.detach().clone()
    for _ in range(5):  # an epoch has three
        run.step()
    assert run.sums.keys() == losses
    assert all(np.isfinite(value) and value > 0 for value in run.sums.values())
    assert not torch.equal(before, run.model.backbone.stem.weight)


def test_views_are_the_batch_its_mixup_and_its_cutmix(monkeypatch):
    run = training('BCE3S', True)
    halves = [torch.full((8, 3, 32, 32), value) for value in (1.0, 0.0)]
    labels = [torch.zeros(8, dtype=torch.long), torch.ones(8, dtype=torch.long)]
    monkeypatch.setattr(run, '_next', lambda k: (halves[k], labels[k]))
    views, own, (partners, lams, classes) = run.batch()
    assert torch.equal(own, labels[0])
    assert torch.equal(partners, labels[1])
    assert classes[0]
    assert views.shape == (24, 3, 32, 32)
    means = views.view(3, -1).mean(1)  # of ones mixed with zeros: the own share
    torch.testing.assert_close(means, torch.tensor(lams))
    assert lams[0] == 1
