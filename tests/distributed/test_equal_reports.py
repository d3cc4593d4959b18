"""The same weights, evaluated by 1 to 4 processes through the tools: the same figures.

500 test images are 125 each for four processes and 167 for three, which count one of them twice if
nobody takes care; 497 leave a rest in any case.
"""

import json

import pytest
from launching import CONFIG, EPOCHS, ROOT, finish, start, train

pytestmark = pytest.mark.slow
FEWER = """
from bce3s.datasets.whole_batches import DigitsLT
from bce3s.registry import DATASETS

@DATASETS.register_module()
class FewerDigits(DigitsLT):
    def __len__(self):
        return super().__len__() - 3
"""
THERE = f"""
_base_ = '{ROOT / CONFIG}'
custom_imports = dict(imports=['fewer_digits'])
val_dataloader = dict(dataset=dict(type='FewerDigits'))
"""
OPTIONS = ('--cfg-options', 'model.flip_tta=True', 'val_dataloader.batch_size=64')
# an epoch that changes nothing: the second stage at a rate of 0
STILL = ('train_cfg.max_epochs=1', 'train_cfg.finetune_epochs=1', 'default_hooks.schedule.lr=0')
MEASURES = 'default_hooks.measures.type=FeatureMeasuresHook'


def report(folder):
    return json.loads((folder / 'report.json').read_text())


def evaluated(config, checkpoint, folder, processes, **environ):
    where = ('--work-dir', folder)
    command = ('dist_test.sh', config, checkpoint, processes, *where, *OPTIONS)
    status, printed = finish(start(*command, **environ))
    assert status == 0, printed
    return report(folder)


@pytest.mark.parametrize(('images', 'several'), [(500, (2, 3)), (497, (4,))])
def test_the_report_does_not_depend_on_the_processes(undisturbed, tmp_path, images, several):
    (tmp_path / 'fewer_digits.py').write_text(FEWER)
    (tmp_path / 'config.py').write_text(THERE)
    config, path = (CONFIG, '') if images == 500 else (tmp_path / 'config.py', str(tmp_path))
    checkpoint = undisturbed / f'epoch_{EPOCHS}.pth'
    one, *others = (
        evaluated(config, checkpoint, tmp_path / str(n), n, PYTHONPATH=path) for n in (1, *several)
    )
    assert one['samples'] == images
    assert len(one['per_class']) == 10
    assert any(other['tta'] for other in one['other'])
    for other in others:
        assert other == one


def test_validation_and_measures_while_training(undisturbed, tmp_path):
    """The measures are sums over shares of the data: the same but for rounding."""
    reports, measures = [], []
    for n in (1, 2, 4):
        load = f'load_from={undisturbed / f"epoch_{EPOCHS}.pth"}'
        batch = f'train_dataloader.batch_size={64 // n}'
        train(tmp_path / str(n), *OPTIONS, *STILL, MEASURES, load, batch, processes=n)
        reports.append(report(tmp_path / str(n)))
        measures.append(json.loads((tmp_path / str(n) / 'measures.json').read_text()))
    for each in reports:
        each.pop('config_sha256')  # of the batch size, too
    assert reports[0] == reports[1] == reports[2]
    for other in measures[1:]:
        close(other, measures[0])


def close(found, expected):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            close(found[key], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for pair in zip(found, expected, strict=True):
            close(*pair)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-12)
    else:
        assert found == expected
