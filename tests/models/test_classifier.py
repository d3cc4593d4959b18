"""The whole model: prediction, precision, and the stage of the classifier alone."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope

from bce3s.errors import BCE3SError
from bce3s.models import classifier
from bce3s.models.classifier import LongTailedClassifier
from bce3s.randomness import Clock

B, K = 12, 10
MEAN, STD = (0.305,), (0.376,)


def build(mix=True, head='TripartiteHead', **kwargs):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('bce3s'):
        model = LongTailedClassifier(
            backbone=dict(type='CIFARResNet', depth=20, in_channels=1),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(
                type=head,
                num_classes=K,
                in_channels=64,
                joint=dict(type='BCEJoint', resample=0.8),
                contrastive=dict(type='BCEContrastive'),
                uniformity=dict(type='BCEUniformity'),
            ),
            data_preprocessor=dict(
                type='LongTailedPreprocessor',
                mean=MEAN,
                std=STD,
                mix=[dict(type='PairedMixUp'), dict(type='PairedCutMix')] if mix else [],
            ),
            **kwargs,
        )
    model.head.set_class_counts(range(100, 0, -10))
    return model


def batch(rows=2 * B, seed=0):
    gen = torch.Generator().manual_seed(seed)
    labels = torch.randint(K, (rows,), generator=gen)
    images = torch.randint(256, (rows, 1, 8, 8), generator=gen, dtype=torch.uint8)
    return dict(inputs=images, data_samples=dict(labels=labels, indices=torch.arange(rows) + 7))


def optimizer(model):
    sgd = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-3)
    return OptimWrapper(sgd)


def steps(model, optim, count=3, start=0):
    model.train()
    for step in range(start, start + count):
        model.data_preprocessor.clock = Clock(0, 0, step)
        log = model.train_step(batch(seed=step), optim)
    return log


def bits(module):
    return {k: v.clone() for k, v in module.state_dict().items()}


def same(a, b):
    return [k for k in a if torch.equal(a[k], b[k])]


# ---------------------------------------------------------------------------------------- training


def test_the_sum_of_the_branches_is_trained():
    model = build()
    log = steps(model, optimizer(model), 2)
    branches = [log[f'loss_{name}'] for name in ('joint', 'contrastive', 'uniformity')]
    assert log['loss'].item() == pytest.approx(sum(branches).item(), rel=1e-6)
    assert set(log) == {'loss', 'loss_joint', 'loss_contrastive', 'loss_uniformity'}


def test_training_lowers_the_loss():
    model = build()
    model.data_preprocessor.clock = Clock()
    optim, logs = optimizer(model), []
    for _ in range(12):
        logs.append(model.train_step(batch(), optim)['loss_joint'].item())
    assert logs[-1] < 0.7 * logs[0]


def test_layout_changes_nothing_but_rounding():
    """float32 sums in another order: 1e-4 of the loss."""
    losses = []
    for channels_last in (True, False):
        model = build(channels_last=channels_last).train()
        data = model.data_preprocessor(batch(), training=True)
        losses.append(sum(model(**data, mode='loss').values()).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


# ---------------------------------------------------------------------------------------- precision


def test_bfloat16_is_close_to_float32():
    """Eight bits of mantissa, twenty layers: features within 3 %, the loss within 2 %."""
    full, half = build(), build(precision='bf16')
    inputs = full.data_preprocessor(batch(), training=True)['inputs']
    exact, rough = full.features(inputs), half.features(inputs)
    assert rough.dtype == torch.float32
    assert not torch.equal(exact, rough)  # it was in use
    assert ((exact - rough).norm() / exact.norm()).item() < 0.03
    data = [m.data_preprocessor(batch(), training=True) for m in (full, half)]
    losses = [m(**d, mode='loss') for m, d in zip((full, half), data, strict=True)]
    for name, value in losses[0].items():
        assert losses[1][name].dtype == torch.float32
        assert losses[1][name].item() == pytest.approx(value.item(), rel=0.02)
    sum(losses[1].values()).backward()
    assert all(p.grad.dtype == torch.float32 for p in half.parameters())


def test_views_that_do_not_fit_the_head():
    def built(joint, contrastive=None, **views):
        return LongTailedClassifier(
            backbone=dict(type='CIFARResNet', depth=8),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(
                type='TripartiteHead',
                num_classes=K,
                in_channels=64,
                joint=joint,
                contrastive=contrastive,
            ),
            data_preprocessor=dict(type='LongTailedPreprocessor', mean=MEAN, std=STD, **views),
        )

    joint, contrastive = dict(type='BCEJoint'), dict(type='BCEContrastive')
    hard, mixed = dict(joint, soft_negatives=False), dict(type='MixUpOrCutMix')
    with DefaultScope.overwrite_default_scope('bce3s'):
        assert built(joint, batch_mix=mixed).head.contrastive is None
        with pytest.raises(BCE3SError, match='no unmixed view for the memory bank'):
            built(joint, contrastive, batch_mix=mixed)
        with pytest.raises(BCE3SError, match='without any negative'):
            built(hard, label_smoothing=0.1)


def test_precisions_that_do_not_exist():
    with pytest.raises(BCE3SError, match="must be 'fp32', 'bf16' or 'auto', not 'fp16'"):
        build(precision='fp16')


@pytest.mark.parametrize('fast', [True, False])
def test_auto_is_bfloat16_where_the_device_multiplies_it(fast, monkeypatch):
    monkeypatch.setattr(classifier, 'multiplies_bf16', lambda _: fast)
    auto, fixed = build(precision='auto'), build(precision='bf16' if fast else 'fp32')
    inputs = auto.data_preprocessor(batch(), training=True)['inputs']
    assert torch.equal(auto.features(inputs), fixed.features(inputs))
    assert auto.dtype(inputs.device) == (torch.bfloat16 if fast else torch.float32)


def test_whether_a_device_multiplies_bfloat16_is_known():
    assert classifier.multiplies_bf16('cpu') in (True, False)
    assert not classifier.multiplies_bf16('mps')


@pytest.mark.slow
def test_a_compiled_backbone_is_the_same_network():
    plain, compiled = build(), build(compile=True)
    assert plain.state_dict().keys() == compiled.state_dict().keys()
    data = [m.data_preprocessor(batch(), training=True) for m in (plain, compiled)]
    losses = [m(**d, mode='loss') for m, d in zip((plain, compiled), data, strict=True)]
    for loss in losses:
        sum(loss.values()).backward()
    for name, value in losses[0].items():
        assert losses[1][name].item() == pytest.approx(value.item(), rel=1e-5)
    for (name, p), q in zip(plain.named_parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-5, msg=name)


# --------------------------------------------------------------------------------------- prediction


@pytest.mark.parametrize('flip_tta', [True, False])
@torch.no_grad()
def test_predictions(flip_tta):
    model = build(mix=False, flip_tta=flip_tta)
    steps_of_statistics(model)
    data = batch(rows=9)
    rows = model.eval().val_step(data)
    images = (data['inputs'].float() / 255 - MEAN[0]) / STD[0]
    scores = model.head(model.features(images))
    mirrored = model.head(model.features(images.flip(3)))
    averaged = ((scores + mirrored) / 2).argmax(1).tolist()
    keys = {'scores', 'pred', 'label', 'index'} | ({'pred_flip_tta'} if flip_tta else set())
    for i, row in enumerate(rows):
        assert set(row) == keys
        torch.testing.assert_close(row['scores'], scores[i], rtol=1e-4, atol=1e-4)
        assert row['pred'] == row['scores'].argmax().item()
        assert row['label'] == data['data_samples']['labels'][i].item()
        assert row['index'] == 7 + i
        assert {type(row[k]) for k in keys - {'scores'}} == {int}
    if flip_tta:
        assert [row['pred_flip_tta'] for row in rows] == averaged
        assert averaged != scores.argmax(1).tolist()  # so the mirror image had a say


def steps_of_statistics(model):
    """Running statistics of these images, so that evaluation sees sensible features."""
    model.train()
    for seed in range(20):
        model.features(model.data_preprocessor(batch(seed=seed), training=False)['inputs'])


@torch.no_grad()
def test_scores_are_raw_logits_and_their_own_memory():
    model = build(mix=False)
    steps_of_statistics(model)
    scores = torch.stack([row['scores'] for row in model.eval().val_step(batch(rows=6))])
    assert not torch.allclose(scores.sum(1), torch.ones(6))  # no softmax
    assert (scores < 0).any()


# ----------------------------------------------------------------------------------- second stage


@pytest.mark.parametrize('freeze_norm', [True, False])
def test_the_second_stage_trains_the_classifier_alone(freeze_norm):
    """Momentum and weight decay are on: what is frozen must not even shrink."""
    model = build()
    optim = optimizer(model)
    steps(model, optim)
    model.finetune_classifier(freeze_norm)
    before = bits(model)
    log = steps(model, optim, 4, start=3)
    after = bits(model)
    changed = set(before) - set(same(before, after))
    assert set(log) == {'loss', 'loss_joint'}
    statistics = {
        k
        for k in before
        if k.startswith('backbone') and k.rpartition('.')[2].startswith(('running', 'num'))
    }
    classifier = {'head.classifier.weight', 'head.classifier.bias'}
    assert len(statistics) == 3 * 19
    assert changed == classifier | (set() if freeze_norm else statistics)


def test_a_gradient_left_over_from_the_first_stage_is_forgotten():
    model = build().train()
    sum(model(**model.data_preprocessor(batch(), training=True), mode='loss').values()).backward()
    model.finetune_classifier()
    before = bits(model.backbone)
    optimizer(model).step()
    assert len(same(before, bits(model.backbone))) == len(before)


def test_norm_layers_stay_frozen_through_train_and_eval():
    model = build()
    model.finetune_classifier()
    for mode in (True, False, True):
        model.train(mode)
        norms = [m for m in model.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert not any(m.training for m in norms)
        assert model.head.training == mode
    drifting = build()
    drifting.finetune_classifier(freeze_norm=False)
    assert drifting.train().backbone.bn.training


def test_features_of_the_second_stage_are_those_of_evaluation():
    model = build()
    steps(model, optimizer(model))
    model.finetune_classifier()
    images = model.data_preprocessor(batch(), training=False)['inputs']
    assert torch.equal(model.train().features(images), model.eval().features(images))


def test_entering_the_second_stage_twice_or_in_a_fresh_model_is_the_same():
    """A resumed run builds the model anew, loads, and enters the stage again."""
    model = build()
    steps(model, optimizer(model))
    fresh = build()
    fresh.load_state_dict(copy.deepcopy(model.state_dict()))
    model.finetune_classifier()
    model.finetune_classifier()
    fresh.finetune_classifier()
    for m in (model, fresh):
        steps(m, optimizer(m), 2)
    assert len(same(bits(model), bits(fresh))) == len(bits(model))


@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_the_precision_is_the_models_under_an_autocast_of_the_caller(precision):
    """As MMEngine's AmpOptimWrapper puts around a step."""
    model = build(precision=precision)
    data = model.data_preprocessor(batch(), training=True)
    with torch.autocast('cpu', torch.bfloat16):
        losses = model(**data, mode='loss')
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    sum(losses.values()).backward()
    expected = build(precision=precision)(**data, mode='loss')
    assert all(torch.equal(loss, expected[name]) for name, loss in losses.items())


def test_what_compile_takes(monkeypatch):
    with pytest.raises(BCE3SError, match="compile must be True, False or a dict, not 'yes'"):
        build(compile='yes')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    with pytest.raises(BCE3SError, match='of one micro-batch, not of 2: set micro_batches=1'):
        build(compile=dict(mode='reduce-overhead'), micro_batches=2)


def test_views_that_the_second_stage_lacks_are_told_at_once():
    with pytest.raises(BCE3SError, match=r'H2THead needs the views .*set it to \[dict'):
        build(head='H2THead')


@pytest.mark.parametrize('freeze_norm', [True, False])
def test_a_neck_with_statistics_stays_as_the_second_stage_found_it(freeze_norm):
    model = build()
    model.neck = torch.nn.BatchNorm2d(64)
    model.finetune_classifier(freeze_norm)
    model.train()
    assert model.neck.training == model.backbone.training == (not freeze_norm)
    assert model.head.training
