"""MixUp and CutMix against loops over the pixels."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch

from bce3s.augmentation.mixing import MixUpOrCutMix, PairedCutMix, PairedMixUp
from bce3s.errors import BCE3SError
from bce3s.models.share import Share
from bce3s.models.targets import Targets
from bce3s.randomness import Clock

LAMBDAS = [0.0, 0.13, 0.5, 0.87, 1.0]


def batch(height=9, width=6, size=3):
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, size, 2, height, width))


class Centre:
    """A generator that gives the row and the column of a box's centre."""

    def __init__(self, *centre):
        self.left = list(centre)

    def integers(self, high):
        assert 0 <= self.left[0] < high
        return self.left.pop(0)


@pytest.mark.parametrize('lam', LAMBDAS)
def test_mixup(lam):
    images, partners = batch()
    mixed, own = PairedMixUp()(torch.tensor(images), torch.tensor(partners), lam, None)
    np.testing.assert_allclose(mixed.numpy(), oracles.mixup(images, partners, lam), atol=1e-14)
    assert own == lam


@pytest.mark.parametrize('lam', LAMBDAS)
@pytest.mark.parametrize('centre', [(0, 0), (8, 5), (4, 3), (0, 3), (8, 0)])
def test_cutmix(centre, lam):
    images, partners = batch()
    box = oracles.cutmix_box(9, 6, lam, centre)
    expected, area = oracles.cutmix(images, partners, box)
    given = torch.tensor(images), torch.tensor(partners)
    mixed, own = PairedCutMix()(*given, lam, Centre(*centre))
    assert np.array_equal(mixed.numpy(), expected)
    assert own == pytest.approx(area, abs=1e-12)
    uncorrected, official = PairedCutMix(correct_lambda=False)(*given, lam, Centre(*centre))
    assert torch.equal(uncorrected, mixed)
    assert official == lam
    assert torch.equal(given[0], torch.tensor(images))  # the origin view is not written into


def test_a_clipped_box_is_where_the_two_lambdas_differ():
    """At the corner a quarter of a 4 x 4 box is left: 1 - 4/64, not 1 - 16/64."""
    images = torch.zeros(1, 1, 8, 8)
    _, own = PairedCutMix()(images, images + 1, 0.75, Centre(0, 0))
    assert own == 1 - 4 / 64
    _, inside = PairedCutMix()(images, images + 1, 0.75, Centre(4, 4))
    assert inside == 0.75


def test_centres_are_uniform_over_the_image_and_boxes_inside():
    rng, trials = np.random.default_rng(0), 4000
    boxes = np.array([PairedCutMix.box(12, 4, 0.5, rng) for _ in range(trials)])
    top, bottom, left, right = boxes.T
    assert (top >= 0).all() and (top <= bottom).all() and (bottom <= 12).all()  # noqa: PT018
    assert (left >= 0).all() and (left <= right).all() and (right <= 4).all()  # noqa: PT018
    # int(4 * sqrt(.5)) // 2 = 1: the columns a box about 0, 1, 2, 3 begins at are 0, 0, 1, 2
    counts = np.bincount(left, minlength=3)
    for count, share in zip(counts, (0.5, 0.25, 0.25), strict=True):
        assert abs(count - trials * share) < 5 * (trials * share * (1 - share)) ** 0.5


def test_one_box_for_the_whole_batch():
    images = torch.zeros(5, 3, 8, 8)
    mixed, own = PairedCutMix()(images, images + 1, 0.6, np.random.default_rng(3))
    assert all(torch.equal(image, mixed[0]) for image in mixed)
    assert mixed.mean().item() == pytest.approx(1 - own)


# ------------------------------------------------------------------------------- within the batch


class GlobalNumpy:
    """NumPy's global generator, from which timm draws, under the names of a Generator."""

    random = staticmethod(np.random.rand)
    beta = staticmethod(np.random.beta)

    def integers(self, high):
        return np.random.randint(0, high)  # noqa: NPY002


def box_with_sides_rounded_down(shape, lam, **_):
    """As timm had it, and CutMix's authors; later versions of timm round odd sides up."""
    draws = GlobalNumpy()
    centre = [draws.integers(length) for length in shape[-2:]]
    return sum(oracles.cutmix_box(*shape[-2:], lam, centre), ())


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_it_is_what_timm_does(smoothing, monkeypatch):
    """Same draws, same images and soft targets, over batches of all three kinds."""
    timm = pytest.importorskip('timm.data.mixup')
    monkeypatch.setattr(timm, 'rand_bbox', box_with_sides_rounded_down)
    ours = MixUpOrCutMix(0.8, 1.0, prob=0.8, switch_prob=0.5)
    theirs = timm.Mixup(0.8, 1.0, None, 0.8, 0.5, 'batch', True, smoothing, num_classes=7)
    gen, kinds = torch.Generator().manual_seed(0), set()
    for seed in range(40):
        images = torch.randn(6, 3, 9, 12, generator=gen, dtype=torch.float64)
        labels = torch.randint(7, (6,), generator=gen)
        np.random.seed(seed)  # noqa: NPY002
        expected, soft = theirs(images.clone(), labels)
        np.random.seed(seed)  # noqa: NPY002
        mixed, own = ours(images, images.flip(0), GlobalNumpy())
        torch.testing.assert_close(mixed, expected, atol=1e-12, rtol=0)
        lam, share = torch.tensor([own], dtype=torch.float64), Share((6,))
        targets = Targets(
            labels, ('mixed',), lam, labels.flip(0), labels, share, Clock(), smoothing
        )
        # timm's targets are float32
        torch.testing.assert_close(targets.soft(7, torch.float32)[0], soft, atol=1e-6, rtol=0)
        from_partner = torch.isclose(mixed, images.flip(0)).double().mean().item()
        kinds.add('none' if own == 1 else 'mixup' if from_partner < 1e-3 else 'cutmix')
    assert kinds == {'none', 'mixup', 'cutmix'}


def test_how_often_a_batch_is_mixed_and_by_what():
    """0.2 not at all, 0.8 x 0.25 by CutMix; boxes without a pixel are rare at 64 x 64."""
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 64, 64)
    mix, trials = MixUpOrCutMix(0.8, 1.0, prob=0.8, switch_prob=0.25), 2000
    rng = np.random.default_rng(0)
    none = cut = 0
    for _ in range(trials):
        mixed, own = mix(images, images.flip(0), rng)
        none += own == 1
        cut += own < 1 and mixed[0].unique().tolist() in ([0.0, 3.0], [3.0])
    for count in (none, cut):
        assert abs(count - 0.2 * trials) < 5 * (0.16 * trials) ** 0.5


class Lowest:
    """A generator that draws 0."""

    @staticmethod
    def random():
        return 0.0

    @staticmethod
    def beta(*_):
        return 0.25

    @staticmethod
    def integers(high):
        return high // 2


def test_a_probability_of_nothing_is_never():
    images = torch.arange(16.0).view(1, 1, 4, 4)
    mixed, own = MixUpOrCutMix(prob=0)(images, images.flip(2), Lowest())
    assert torch.equal(mixed, images)
    assert own == 1
    mixed, own = MixUpOrCutMix(prob=1, switch_prob=0)(images, images.flip(2), Lowest())
    assert own == 0.25
    assert torch.equal(mixed, 0.25 * images + 0.75 * images.flip(2))  # MixUp


@pytest.mark.parametrize('cutmix', [0.0, 1.0])
def test_lambda_is_beta_of_alpha_and_alpha(cutmix):
    """Beta(a, a): mean 1/2, variance 1 / (4 (2 a + 1)); Beta(a, 1) has the mean a / (a + 1)."""
    alphas = dict(mixup_alpha=0.3, cutmix_alpha=4.0)
    mix = MixUpOrCutMix(**alphas, prob=1, switch_prob=cutmix)
    lams = []
    mix.mixup = mix.cutmix = lambda *args: lams.append(args[2])
    images, rng = torch.zeros(1, 1, 2, 2), np.random.default_rng(0)
    for _ in range(3000):
        mix(images, images, rng)
    alpha = 4.0 if cutmix else 0.3
    variance = 1 / (4 * (2 * alpha + 1))
    assert np.mean(lams) == pytest.approx(0.5, abs=5 * (variance / 3000) ** 0.5)
    assert np.var(lams) == pytest.approx(variance, rel=0.1)


@pytest.mark.parametrize(
    'options',
    [dict(mixup_alpha=0), dict(cutmix_alpha=-1.0), dict(prob=1.1), dict(switch_prob=-0.1)],
)
def test_refuses(options):
    with pytest.raises(BCE3SError, match='MixUpOrCutMix: mixup_alpha='):
        MixUpOrCutMix(**options)
