"""What enters the network: layout of the views, normalisation, and where the draws come from."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch

from bce3s.errors import BCE3SError
from bce3s.models.preprocessor import LongTailedPreprocessor
from bce3s.models.share import Share
from bce3s.randomness import Clock
from bce3s.registry import TRANSFORMS

B, K = 6, 5
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
MIX = [dict(type='PairedMixUp'), dict(type='PairedCutMix')]
AUGMENT = [dict(type='BatchPadCrop', padding=2), dict(type='BatchFlip')]


@TRANSFORMS.register_module()
class StampDraws:
    """Writes each image's uniforms into its pixels, so that a test can read them."""

    draws = 2

    def __call__(self, images, u):
        stamped = images.clone()
        stamped[:, 0] = (255 * u[:, 0]).to(torch.uint8)[:, None, None]
        stamped[:, 1] = (255 * u[:, 1]).to(torch.uint8)[:, None, None]
        return stamped


def loader_batch(rows=2 * B, same=False):
    gen = torch.Generator().manual_seed(0)
    images = torch.randint(256, (1 if same else rows, 3, 8, 8), generator=gen, dtype=torch.uint8)
    labels = torch.randint(K, (rows,), generator=gen)
    samples = dict(labels=labels, indices=torch.arange(rows))
    return dict(inputs=images.expand(rows, -1, -1, -1).clone(), data_samples=samples)


def build(clock=Clock(1, 2, 3), **kwargs):  # noqa: B008
    module = LongTailedPreprocessor(MEAN, STD, **kwargs)
    module.clock = clock
    return module


def normalized(images):
    mean, std = (np.array(x).reshape(3, 1, 1) for x in (MEAN, STD))
    return (images.numpy() / 255 - mean) / std


def test_views_are_stacked_view_major():
    module, data = build(mix=MIX).double(), loader_batch()
    out = module(data, training=True)
    views, targets = out['inputs'], out['data_samples']
    own, partner = (normalized(x) for x in data['inputs'].split(B))
    lam = targets.lam.tolist()
    assert views.shape == (3 * B, 3, 8, 8)
    assert targets.views == ('origin', 'mixup', 'cutmix')
    np.testing.assert_allclose(views[:B], own, atol=1e-6)
    np.testing.assert_allclose(views[B : 2 * B], oracles.mixup(own, partner, lam[1]), atol=1e-6)
    cut = views[2 * B :].numpy()
    from_partner = np.isclose(cut, partner, atol=1e-6)
    assert (from_partner | np.isclose(cut, own, atol=1e-6)).all()
    share = from_partner.all(axis=(0, 1)).mean()
    assert lam[2] == pytest.approx(1 - share, abs=1e-12)
    assert lam[0] == 1
    assert 0 < lam[1] < 1


def test_targets_of_a_mixed_batch():
    module, data = build(mix=MIX), loader_batch()
    targets = module(data, training=True)['data_samples']
    labels, partners = data['data_samples']['labels'].split(B)
    assert torch.equal(targets.labels, labels)
    assert torch.equal(targets.all_labels, labels)
    assert torch.equal(targets.partners, partners)
    assert targets.clock == Clock(1, 2, 3)
    assert targets.share == Share((B,))
    soft = oracles.soft_labels(labels.tolist(), partners.tolist(), targets.lam.tolist(), K)
    np.testing.assert_allclose(targets.soft(K, torch.float64), soft, atol=1e-12)
    assert torch.equal(targets.per_view(torch.arange(3 * B))[2], torch.arange(2 * B, 3 * B))


def test_one_lambda_serves_both_views():
    mix = [dict(type='PairedMixUp'), dict(type='PairedCutMix', correct_lambda=False)]
    for step in range(5):
        lam = build(Clock(step=step), mix=mix)(loader_batch(), True)['data_samples'].lam
        assert lam[1] == lam[2]
        corrected = build(Clock(step=step), mix=MIX)(loader_batch(), True)['data_samples'].lam
        assert corrected[1] == lam[1]


def test_lambda_is_beta_distributed():
    """alpha = 1: uniform, so mean 1/2 and variance 1/12; a large alpha: near 1/2."""

    def draws(alpha):
        module = build(mix=MIX[:1], mix_alpha=alpha)
        data = loader_batch(2)
        for step in range(600):
            module.clock = Clock(0, 0, step)
            yield module(data, True)['data_samples'].lam[1].item()

    uniform = np.array(list(draws(1.0)))
    assert abs(uniform.mean() - 0.5) < 5 * (1 / 12 / 600) ** 0.5
    assert abs(uniform.var() - 1 / 12) < 5 * (1 / 180 / 600) ** 0.5
    assert np.std(list(draws(50.0))) < 0.07  # 1 / sqrt(4 * 101) = 0.05


def test_every_image_has_its_own_draws_partners_too():
    module = build(augment=[dict(type='StampDraws'), dict(type='StampDraws')], mix=MIX[:1])
    data = loader_batch(same=True)
    share = Share((B,))
    stamped = module._augment(data['inputs'], share, 2)[:, 0, 0, 0]
    assert len(set(stamped.tolist())) >= 2 * B - 2
    u = torch.rand(2, B, 4, generator=module.clock.generator('augmentation'))
    assert torch.equal(stamped, (255 * u[:, :, 2].flatten()).to(torch.uint8))


@pytest.mark.parametrize('sizes', [(3, 3), (2, 3, 1)])
def test_ranks_draw_what_one_process_draws(sizes):
    """Views of the ranks, put together, are those of the whole batch."""
    module, data = build(augment=AUGMENT, mix=MIX), loader_batch()
    whole = module(data, training=True)['inputs'].unflatten(0, (3, B))
    own, partner = (x.split(sizes) for x in data['inputs'].split(B))
    for rank, size in enumerate(sizes):
        images = torch.cat([own[rank], partner[rank]])
        images = module.normalize(module._augment(images, Share(sizes, rank), 2))
        views, _, _ = module._mix(images, size)
        start = sum(sizes[:rank])
        assert torch.equal(views.unflatten(0, (3, size)), whole[:, start : start + size])


def test_a_batch_is_a_function_of_seed_and_step():
    def views(*moment):
        return build(Clock(*moment), augment=AUGMENT, mix=MIX)(loader_batch(), True)['inputs']

    assert torch.equal(views(1, 2, 3), views(1, 2, 3))
    assert not torch.equal(views(1, 2, 3)[:B], views(1, 2, 4)[:B])
    assert not torch.equal(views(1, 2, 3)[:B], views(2, 2, 3)[:B])
    torch.manual_seed(5)  # global generators do not matter
    first = views(1, 2, 3)
    torch.manual_seed(6)
    assert torch.equal(first, views(1, 2, 3))


def test_augmentation_comes_before_mixing():
    module, data = build(augment=AUGMENT, mix=MIX[:1]).double(), loader_batch()
    out = module(data, training=True)
    images = normalized(module._augment(data['inputs'], Share((B,)), 2))
    lam = out['data_samples'].lam[1].item()
    np.testing.assert_allclose(out['inputs'][:B], images[:B], atol=1e-6)
    expected = oracles.mixup(images[:B], images[B:], lam)
    np.testing.assert_allclose(out['inputs'][B:], expected, atol=1e-6)


def test_evaluation_only_normalises():
    module, data = build(augment=AUGMENT, mix=MIX), loader_batch(B)
    out = module(data, training=False)
    np.testing.assert_allclose(out['inputs'], normalized(data['inputs']), atol=1e-5)
    assert torch.equal(out['data_samples']['labels'], data['data_samples']['labels'])
    assert torch.equal(out['data_samples']['indices'], data['data_samples']['indices'])


def test_without_mixing_there_is_one_view():
    module, data = build(augment=AUGMENT), loader_batch(B)
    out = module(data, training=True)
    targets = out['data_samples']
    assert not module.paired
    assert out['inputs'].shape[0] == B
    assert (targets.views, targets.lam.tolist(), targets.partners) == (('origin',), [1.0], None)


def test_finetuning_shows_the_origin_view_only():
    module, data = build(augment=AUGMENT, mix=MIX), loader_batch()
    origin = module(data, training=True)['inputs'][:B]
    module.finetuning = True
    out = module(data, training=True)
    targets = out['data_samples']
    assert module.paired  # the loader still pairs
    assert torch.equal(out['inputs'], origin)
    assert (targets.views, targets.partners) == (('origin',), None)
    assert torch.equal(targets.labels, data['data_samples']['labels'][:B])


def test_input_is_left_as_it_was():
    data = loader_batch()
    before = data['inputs'].clone()
    build(augment=AUGMENT, mix=MIX)(data, training=True)
    assert torch.equal(data['inputs'], before)


def test_refuses_the_train_cfg_of_mmpretrain():
    with pytest.raises(BCE3SError, match='train_cfg'):
        build(batch_augments=dict(augments='Mixup'))


# ------------------------------------------------------------------------------- within the batch

WITHIN = dict(type='MixUpOrCutMix', prob=1.0, switch_prob=0.0)


def test_a_batch_mixed_with_its_reverse():
    module, data = build(augment=AUGMENT, batch_mix=WITHIN).double(), loader_batch(B)
    out = module(data, training=True)
    targets, labels = out['data_samples'], data['data_samples']['labels']
    images = normalized(module._augment(data['inputs'], Share((B,))))
    lam = targets.lam.item()
    assert not module.paired
    assert 0 < lam < 1
    np.testing.assert_allclose(out['inputs'], oracles.mixup(images, images[::-1], lam), atol=1e-6)
    assert targets.views == ('mixed',)
    assert torch.equal(targets.partners, labels.flip(0))
    soft = oracles.soft_labels(labels.tolist(), labels.tolist()[::-1], [lam], K)
    np.testing.assert_allclose(targets.soft(K, torch.float64), soft, atol=1e-12)


def test_a_mixed_batch_is_a_function_of_seed_and_step():
    def mixed(*moment):
        return build(Clock(*moment), batch_mix=WITHIN)(loader_batch(B), True)['inputs']

    assert torch.equal(mixed(1, 2, 3), mixed(1, 2, 3))
    assert not torch.equal(mixed(1, 2, 3), mixed(1, 2, 4))
    assert not torch.equal(mixed(1, 2, 3), mixed(2, 2, 3))


@pytest.mark.parametrize('mixing', [dict(), dict(batch_mix=WITHIN), dict(mix=MIX)])
def test_label_smoothing(mixing):
    """Off value s/K, on value 1 - s + s/K, then mixed."""
    module = build(label_smoothing=0.1, **mixing)
    targets = module(loader_batch(2 * B if 'mix' in mixing else B), True)['data_samples']
    partners = None if targets.partners is None else targets.partners.tolist()

    def smooth(label):
        return np.array([0.9 + 0.1 / K if k == label else 0.1 / K for k in range(K)])

    for v, lam in enumerate(targets.lam.tolist()):
        for i, label in enumerate(targets.labels.tolist()):
            other = smooth(partners[i]) if partners else 0
            expected = lam * smooth(label) + (1 - lam) * other
            np.testing.assert_allclose(targets.soft(K, torch.float64)[v, i], expected, atol=1e-9)


def test_finetuning_neither_mixes_nor_smooths():
    module, data = build(augment=AUGMENT, batch_mix=WITHIN, label_smoothing=0.1), loader_batch(B)
    plain = build(augment=AUGMENT)(data, training=True)
    module.finetuning = True
    out = module(data, training=True)
    targets = out['data_samples']
    assert torch.equal(out['inputs'], plain['inputs'])
    assert (targets.views, targets.partners, targets.label_smoothing) == (('origin',), None, 0.0)


@pytest.mark.parametrize('first', [{}, dict(batch_mix=WITHIN), dict(mix=MIX)])
def test_a_mixture_of_the_second_stage_takes_the_place_of_that_of_the_first(first):
    second = build(augment=AUGMENT, **first, finetune_mix=[dict(type='PairedPartner')])
    data = loader_batch()
    only_first = build(augment=AUGMENT, **first)
    own = (
        data
        if first.get('mix')
        else loader_batch(B)
        | dict(
            inputs=data['inputs'][:B],
            data_samples={k: v[:B] for k, v in data['data_samples'].items()},
        )
    )
    assert second.paired
    first_stage = second(data, training=True)
    assert torch.equal(first_stage['inputs'], only_first(own, training=True)['inputs'])
    second.finetuning = True
    out = second(data, training=True)
    targets, labels = out['data_samples'], data['data_samples']['labels']
    assert (targets.views, targets.lam.tolist()) == (('origin', 'partner'), [1.0, 0.0])
    soft = targets.soft(K, torch.float32)
    assert soft[0].argmax(1).tolist() == labels[:B].tolist()
    assert soft[1].argmax(1).tolist() == labels[B:].tolist()
    both = build(augment=AUGMENT, mix=MIX)(data, training=True)['inputs'][:B]
    assert torch.equal(out['inputs'][:B], both)


def test_grey_images_become_three_channels_with_a_black_border():
    module, data = build(pad=2), loader_batch(B)
    data['inputs'] = data['inputs'][:, :1]
    framed = np.zeros((B, 3, 12, 12))
    framed[:, :, 2:10, 2:10] = data['inputs'].numpy()
    for training in (False, True):
        out = module(data, training=training)['inputs']
        np.testing.assert_allclose(out, normalized(torch.tensor(framed)), atol=1e-5)


def test_refuses_what_does_not_go_together():
    with pytest.raises(BCE3SError, match='give one of them'):
        build(mix=MIX, batch_mix=WITHIN)
    for s in (-0.1, 1.0):
        with pytest.raises(BCE3SError, match='label_smoothing must be in'):
            build(label_smoothing=s)
    with pytest.raises(BCE3SError, match='pad must be at least 0'):
        build(pad=-1)
    with pytest.raises(BCE3SError, match='give one of them'):
        build(mix=MIX, views=VIEWS)
    with pytest.raises(BCE3SError, match="view 'a' takes 'augment' and 'mix', not"):
        build(views=dict(a=dict(augments=[])))


STAMP = [dict(type='StampDraws')]
VIEWS = dict(
    origin=dict(),
    simclr=dict(augment=STAMP),
    cutmix=dict(augment=STAMP, mix=MIX[1]),
    mixup=dict(augment=[], mix=MIX[0]),
)


def test_views_of_their_own():
    """Each with its augmentation, drawn anew, and its mixing with the partners, of one lambda."""
    module, data = build(augment=AUGMENT, views=VIEWS).double(), loader_batch(same=True)
    assert module.paired
    out = module(data, training=True)
    targets, views = out['data_samples'], out['inputs'].unflatten(0, (4, B))
    assert targets.views == tuple(VIEWS)
    assert targets.partners.tolist() == data['data_samples']['labels'][B:].tolist()
    own, partner = (normalized(x) for x in data['inputs'].split(B))
    lam = targets.lam.tolist()
    assert lam[:2] == [1, 1]
    np.testing.assert_allclose(views[3], lam[3] * own + (1 - lam[3]) * partner, rtol=1e-5)
    stamps = [view[:, :2].amax((2, 3)) for view in views[1:3]]
    assert len(stamps[0].unique(dim=0)) == B
    assert not torch.equal(*stamps)
    # a view that is not mixed, of a preprocessor that mixes nothing
    only = build(views=dict(origin=dict(), simclr=dict(augment=STAMP))).double()
    assert not only.paired
    alone = only(loader_batch(B, same=True), training=True)
    assert torch.equal(alone['inputs'][B:], views[1])
    assert alone['data_samples'].lam.tolist() == [1, 1]
    module.finetuning = True
    assert module(data, training=True)['data_samples'].views == ('origin',)


@pytest.mark.parametrize('sizes', [(3, 3), (2, 3, 1)])
def test_ranks_draw_the_views_of_one_process(sizes):
    module, data = build(augment=AUGMENT, views=VIEWS), loader_batch()
    whole = module(data, training=True)['inputs'].unflatten(0, (4, B))
    own, partner = (x.split(sizes) for x in data['inputs'].split(B))
    for rank, size in enumerate(sizes):
        images = torch.cat([own[rank], partner[rank]])
        views, _, _ = module._separately(images, size, Share(sizes, rank))
        start = sum(sizes[:rank])
        assert torch.equal(views.unflatten(0, (4, size)), whole[:, start : start + size])
