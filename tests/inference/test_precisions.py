"""What float32 changes in a run that was evaluated in bfloat16."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from trained_runs import digits_run, set_rejection

from bce3s.engine.run_directory import RunDirectory
from bce3s.inference import precisions
from bce3s.inference.export_command import main
from bce3s.inference.precisions import compare_precisions, precisions_text
from bce3s.inference.predictor import Predictor


@pytest.fixture(autouse=True, scope='module')
def _short_timing():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('bce3s.inference.export.SECONDS', 0.0)
        yield


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
    run = digits_run(tmp_path_factory.mktemp('digits'), epochs=1)
    set_rejection(run, None, precision='bfloat16')
    return run


def answers(run, precision):
    """(N,) of all evaluation images, and their labels."""
    predictor, dataset = Predictor(run, threshold=None), RunDirectory.open(run).dataset('val')
    predictor.model.precision = precision
    return predictor.logits(dataset.images).argmax(1), torch.as_tensor(dataset.labels)


def test_an_export_says_what_float32_changes(digits, tmp_path, capsys):
    run = Path(shutil.copytree(digits, tmp_path / 'run'))
    assert main([str(run), '--format', 'torchscript']) == 0
    printed, card = capsys.readouterr().out, (run / 'export/MODEL_CARD.md').read_text()
    (single, labels), (half, _) = answers(run, 'fp32'), answers(run, 'bf16')
    assert len(labels) == 500
    changed = int((single != half).sum())
    shares = [f'{100 * float((found == labels).float().mean()):.2f}' for found in (single, half)]
    report = json.loads((run / 'report.json').read_text())
    for text in (printed, card):
        assert f'That changes {changed} of 500 answers' in text
        assert f'plain accuracy {shares[0]} % in float32, {shares[1]} % in bfloat16' in text
        assert f'the report says {report["accuracy"]:.2f} % of all images' in text
    found = json.loads((run / 'export/model.json').read_text())['results']['precisions']
    assert (found['images'], found['different']) == (500, changed)


def test_every_difference_is_counted(digits, monkeypatch):
    run = RunDirectory.open(digits)
    model, _ = run.model()
    model.cpu()
    features = type(model).features

    def turned(self, inputs):  # bfloat16 that negates what the network says
        found = features(self, inputs)
        return found if self.precision == 'fp32' else -found

    monkeypatch.setattr(type(model), 'features', turned)
    monkeypatch.setattr(precisions, 'MOST', 130)
    found = compare_precisions(run, model, 'bfloat16')
    assert found['images'] == 130
    assert found['different'] > 100
    assert model.precision == run.config.model.get('precision', 'fp32')
    monkeypatch.setattr(precisions, 'SECONDS', -1.0)  # after the first batch
    assert compare_precisions(run, model, 'bfloat16')['images'] == precisions.BATCH


def test_where_it_is_the_same_or_unknown_nothing_is_said(digits, monkeypatch):
    run = RunDirectory.open(digits)
    model, _ = run.model()
    for own in ('float32', None):
        assert compare_precisions(run, model, own) is None
        assert precisions_text(dict(precision=own)) == ''
    monkeypatch.setattr(RunDirectory, 'splits', property(lambda _: ['val']))
    run.config.val_dataloader.dataset = dict(type='ImageFolder', data_root='gone')
    assert compare_precisions(run, model, 'bfloat16') is None
    text = precisions_text(dict(precision='bfloat16', precisions=None))
    assert re.search(r'in bfloat16 there.*was not measured', text)
