"""What the reports of real runs say of "none of these", and which threshold a test takes."""

import pytest
import torch
from test_report_hook import ToyData, ToyModel, make_runner, read


class ScoringModel(ToyModel):
    """Its scores say what it predicts, the surer the more it has trained."""

    def val_step(self, data):
        rows = super().val_step(data)
        for row in rows:
            row['scores'] = torch.full((3,), -1.0)
            row['scores'][row['pred']] = float(self.trained)
        return rows

    test_step = val_step


def scoring_runner(work_dir, monkeypatch, split='test', classes=('a', 'b', 'c'), **kwargs):
    meta = {**ToyData.metainfo, 'split': split, 'classes': list(classes)}
    monkeypatch.setattr(ToyData, 'metainfo', meta)
    return make_runner(work_dir, model=ScoringModel, **kwargs)


@pytest.fixture
def validated(tmp_path, monkeypatch):
    folder = tmp_path / 'validated'
    scoring_runner(folder, monkeypatch, split='val', epochs=2).train()
    return folder


def test_a_validation_chooses_its_own_threshold(validated):
    found = read(validated)['rejection']
    assert (found['chosen_on'], found['measured_on'], found['cross_fitted']) == ('val', 'val', True)
    uniform = found['uniform']
    assert uniform['threshold'] == 0.5  # between -1 and 2
    assert uniform['uniform_accuracy'] == 100.0
    assert uniform['false_rejection']['all'] == 0.0
    assert found['thresholds'] == [None] * 3
    text = (validated / 'report.md').read_text()
    assert '## None of these' in text
    assert '| uniform | falsely rejected at this very threshold | 0.00' in text
    assert 'are too few to reject 5 %' in text


def test_a_test_takes_the_threshold_of_the_validation(validated, tmp_path, monkeypatch):
    path = str(validated / 'epoch_2.pth')
    scoring_runner(tmp_path / 'test', monkeypatch, load_from=path).test()
    found = read(tmp_path / 'test')['rejection']
    assert (found['uniform']['threshold'], found['chosen_on']) == (0.5, 'val')
    assert (found['measured_on'], found['cross_fitted']) == ('test', False)
    assert 'val images are too few' in (tmp_path / 'test/report.md').read_text()


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('epoch_1.pth', {}),  # the report is of another epoch
        ('epoch_2.pth', {'split': 'val'}),  # the same data
        ('epoch_2.pth', {'classes': ('a', 'b', 'x')}),
    ],
)
def test_a_threshold_that_does_not_fit_is_not_taken(
    validated, tmp_path, monkeypatch, name, options
):
    path = str(validated / name)
    scoring_runner(tmp_path / 'test', monkeypatch, load_from=path, best=None, **options).test()
    found = read(tmp_path / 'test')['rejection']
    assert found['cross_fitted']
    assert found['chosen_on'] == found['measured_on']


def test_without_a_report_beside_it_a_checkpoint_has_no_threshold(validated, tmp_path, monkeypatch):
    (validated / 'report.json').write_text('{')
    path = str(validated / 'epoch_2.pth')
    scoring_runner(tmp_path / 'test', monkeypatch, load_from=path).test()
    assert read(tmp_path / 'test')['rejection']['cross_fitted']
