"""The score that a run chose, from the end of its training to predictions."""

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from bce3s.datasets.long_tailed import Thresholds
from bce3s.engine import rejection_score
from bce3s.engine.feature_extraction import extract
from bce3s.engine.rejection_score import FILE, choose_score, kept_distances, network_digest
from bce3s.engine.run_directory import RunDirectory
from bce3s.errors import BCE3SError
from bce3s.evaluation.rejection_scores import (
    ENERGY,
    MAHALANOBIS,
    MAX_LOGIT,
    NEIGHBOURS,
    ClassDistances,
    energy,
)
from bce3s.evaluation.report import format_markdown, read_report
from bce3s.inference.hub import save_pretrained
from bce3s.inference.predictor import Predictor
from bce3s.inference.threshold import ThresholdWarning


def chosen(folder, score, monkeypatch):
    """The run in ``folder``, with what its hook would have written had ``score`` been the best."""
    run = RunDirectory.open(folder)
    model, _ = run.model()
    monkeypatch.setattr(rejection_score, 'recommended', lambda _: score)
    sets = run.dataset('train'), run.dataset('val')
    found = choose_score(model, *sets, True, Thresholds(), folder)
    report = json.loads((folder / 'report.json').read_text()) | dict(rejection_score=found)
    (folder / 'report.json').write_text(json.dumps(report, allow_nan=False))
    return run, model, found


@pytest.mark.parametrize('score', [MAHALANOBIS, ENERGY])
def test_predictions_compare_the_score_that_was_chosen(copied, monkeypatch, score):
    pytest.importorskip('faiss')
    run, model, found = chosen(copied, score, monkeypatch)
    train, test = (extract(model, run.dataset(split)) for split in ('train', 'val'))
    distances = ClassDistances.of(train.features, train.labels)
    expected = (
        distances.scores(test.features) if score == MAHALANOBIS else energy(test.logits, True)
    )
    predictor = Predictor(copied)
    assert predictor.rejection.score == score
    assert score in predictor.rejection.about
    predictions = predictor(run.dataset('val').images)
    assert [p.compared for p in predictions] == pytest.approx(expected.tolist(), rel=1e-3, abs=1e-3)
    assert [p.logit for p in predictions] == pytest.approx(test.logits.amax(1).tolist(), abs=1e-4)
    limits = np.array([found['thresholds'][k] for k in test.logits.argmax(1)], float)
    assert [p.threshold for p in predictions] == limits.tolist()
    assert [p.known for p in predictions] == [p.compared > p.threshold for p in predictions]
    share = np.mean([not p.known for p in predictions])
    assert 0 < share <= 0.05
    assert found['at_threshold']['plain'] == pytest.approx(100 * share)
    assert 'uniform' not in found
    text = format_markdown(read_report(copied))
    assert f'Predictions compare the {score}.' in text
    assert f'| {score}, at most 5 % | falsely rejected |' in text


def test_another_threshold_is_of_the_largest_logit(copied, monkeypatch):
    pytest.importorskip('faiss')
    chosen(copied, MAHALANOBIS, monkeypatch)
    for threshold in ('uniform', 'keep=90', 0.5, None):
        assert Predictor(copied, threshold=threshold).rejection.score == MAX_LOGIT


def test_a_score_without_a_threshold_of_an_added_class_is_not_compared(copied, monkeypatch):
    pytest.importorskip('faiss')
    chosen(copied, ENERGY, monkeypatch)
    report = json.loads((copied / 'report.json').read_text())
    report['rejection_score']['thresholds'].pop()
    (copied / 'report.json').write_text(json.dumps(report))
    assert Predictor(copied).rejection.score == MAX_LOGIT


def test_what_is_kept_is_of_this_network_or_the_largest_logit_is_compared(
    copied, monkeypatch, tmp_path
):
    pytest.importorskip('faiss')
    _, model, _ = chosen(copied, MAHALANOBIS, monkeypatch)
    path = copied / FILE
    whole = path.read_bytes()
    assert len(whole) < 4 * (64 * 64 + 10 * 64) + 2000
    with torch.no_grad():
        before = network_digest(model)
        next(model.head.classifier.parameters())[0] += 1
    assert network_digest(model) != before
    assert kept_distances(copied, model) is None
    for content in (whole[: len(whole) // 2], b'', None):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        with pytest.warns(ThresholdWarning, match=r'rejection\.npz is missing, damaged or of anot'):
            predictor = Predictor(copied)
        assert predictor.rejection.score == MAX_LOGIT
        assert predictor.threshold == (0.5,) * 10
        path.touch()
    path.write_bytes(whole)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert Predictor(copied).rejection.score == MAHALANOBIS
        published = save_pretrained(RunDirectory.open(copied), tmp_path / 'published')
        found = Predictor.from_pretrained(published)
        assert found.rejection.score == MAHALANOBIS
        image = RunDirectory.open(copied).dataset('val').images[:1]
        assert found(image) == Predictor(copied)(image)


def test_neighbours_are_compared_but_never_taken(copied, monkeypatch):
    pytest.importorskip('faiss')
    seen = []
    monkeypatch.setattr(
        rejection_score, 'recommended', lambda gains: seen.append(gains) or MAX_LOGIT
    )
    run = RunDirectory.open(copied)
    model, _ = run.model()
    (copied / FILE).write_text('of an earlier training')
    sets = run.dataset('train'), run.dataset('val')
    found = choose_score(model, *sets, True, Thresholds(), copied)
    assert set(found) == {'score', 'compared'}
    assert NEIGHBOURS in found['compared']
    assert set(seen[0]) == {ENERGY, MAHALANOBIS}
    assert not (copied / FILE).exists()
    monkeypatch.setattr(rejection_score, 'WIDEST', 63)
    choose_score(model, *sets, True, Thresholds(), copied)
    assert set(seen[1]) == {ENERGY}


def test_features_that_are_not_finite_are_a_sentence(copied):
    run = RunDirectory.open(copied)
    model, _ = run.model()
    sets = run.dataset('train'), run.dataset('val')
    with torch.no_grad():
        next(model.backbone.parameters()).fill_(float('nan'))
    with pytest.raises(BCE3SError, match='not finite'):
        choose_score(model, *sets, True, Thresholds(), Path(shutil.copytree(copied, copied / 'x')))
