"""A published model: the same answers, from a folder and a Hub; and what is never built or run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
import yaml
from hub_server import COMMIT, hub_of
from PIL import Image
from safetensors.torch import load_file, save_file

from bce3s import Predictor
from bce3s.engine.run_directory import RunDirectory
from bce3s.errors import BCE3SError
from bce3s.inference import export_command, predict_command
from bce3s.inference.hub import push, save_pretrained
from bce3s.inference.push_command import main

ROOT = Path(__file__).resolve().parents[2]
FILES = ['README.md', 'config.json', 'model.safetensors', 'report.json']


@pytest.fixture(scope='module')
def folder(trained, tmp_path_factory):
    return save_pretrained(
        RunDirectory.open(trained), tmp_path_factory.mktemp('published') / 'digits', 'me/digits'
    )


@pytest.fixture
def changed(folder, tmp_path):
    """A copy, and a function that changes its ``config.json``."""
    copy = Path(shutil.copytree(folder, tmp_path / 'copy'))

    def change(*keys, value):
        content = json.loads((copy / 'config.json').read_text())
        node = content
        for key in keys[:-1]:
            node = node[key]
        node[keys[-1]] = value
        (copy / 'config.json').write_text(json.dumps(content))
        return copy

    return change


def test_a_published_model_answers_as_the_run_does(trained, folder):
    run, published = Predictor(trained), Predictor.from_pretrained(folder)
    images = RunDirectory.open(trained).dataset('val').images[:50]
    assert torch.equal(run.logits(images), published.logits(images))
    assert published(list(images)) == run(list(images))
    for name in ('classes', 'class_counts', 'splits', 'threshold', 'input', 'score'):
        assert getattr(published, name) == getattr(run, name), name


def test_commands_take_the_folder(trained, folder, tmp_path):
    image = tmp_path / 'one.png'
    pixels = RunDirectory.open(trained).dataset('val').images[0, 0].numpy()
    Image.fromarray(pixels).save(image)
    found = []
    for run in (trained, folder):
        assert predict_command.main([str(run), str(image), '--out', f'{image}.csv']) == 0
        found.append(Path(f'{image}.csv').read_text())
    assert found[0] == found[1]
    assert export_command.main([str(folder), '--out', str(tmp_path / 'out')]) == 0
    assert json.loads((tmp_path / 'out/model.json').read_text())['classes'] == list('0123456789')


def test_what_is_in_it(trained, folder):
    assert sorted(path.name for path in folder.iterdir()) == FILES
    texts = [folder.joinpath(name).read_text() for name in FILES if 'model' not in name]
    assert not any(str(place) in text for place in (trained, ROOT) for text in texts)
    front = yaml.safe_load(texts[0].split('---')[1])
    assert front['library_name'] == 'bce3s'
    assert front['pipeline_tag'] == 'image-classification'
    assert "Predictor.from_pretrained('me/digits')" in texts[0]


def test_a_run_on_pictures(trained_folder, pictures, tmp_path):
    assert main([str(trained_folder), '--out', str(tmp_path / 'model')]) == 0
    images = sorted(map(str, (pictures / 'val' / 'bee').iterdir()))
    published = Predictor.from_pretrained(tmp_path / 'model', threshold=None)
    assert published(images) == Predictor(trained_folder, threshold=None)(images)


# ----------------------------------------------------------------------------------- what is not
@pytest.mark.parametrize(
    ('keys', 'value', 'said'),
    [
        (('custom_imports',), dict(imports=['evil']), 'custom_imports'),
        (('model', 'custom_imports'), dict(imports=['evil']), 'custom_imports'),
        (('model', 'neck'), dict(type='os.system', command='touch evil'), "'os.system'"),
        (('model', 'neck', 'type'), 'antigravity', "'antigravity'"),
        (('model', 'neck', 'type'), 'HuggingFaceClassifier', 'HuggingFaceClassifier'),
        (('model', 'neck', 'type'), ['a'], 'no part of this package'),
        (('model', 'neck', '_scope_'), 'evil', "'evil'"),
        (('model', 'backbone', 'init_cfg'), dict(type='X', checkpoint='a.pth'), "'init_cfg'"),
        (('model', 'backbone', 'pretrained'), True, "'pretrained'"),
        (('model', 'backbone', 'depth'), 'x', 'depth must be'),
        (('version',), 2, 'version 2'),
        (('format',), 'other', "format is not 'bce3s'"),
        (('meta',), [], 'has no meta'),
    ],
)
def test_what_a_config_may_not_have(changed, monkeypatch, keys, value, said):
    monkeypatch.setitem(sys.modules, 'evil', None)  # an import of it would fail otherwise
    imported = set(sys.modules)
    with pytest.raises(BCE3SError, match=said):
        Predictor.from_pretrained(changed(*keys, value=value))
    assert not {'antigravity'} & (set(sys.modules) - imported)


def test_a_threshold_that_was_not_published_is_found_where_the_run_is(changed):
    copy = changed('version', value=1)
    report = json.loads((copy / 'report.json').read_text())
    (copy / 'report.json').write_text(json.dumps(report | dict(rejection=None)))
    with pytest.raises(BCE3SError, match=r'no threshold.*the run that this model was published'):
        Predictor.from_pretrained(copy)


def test_an_export_of_one_without_a_report_is_called_as_its_folder(changed, tmp_path):
    copy = changed('version', value=1)
    (copy / 'report.json').unlink()
    assert export_command.main([str(copy), '--format', 'torchscript', '--out', str(tmp_path)]) == 0


@pytest.mark.parametrize('damage', ['missing', 'cut', 'other'])
def test_weights_that_are_damaged(changed, damage):
    path = changed('version', value=1) / 'model.safetensors'
    if damage == 'missing':
        path.unlink()
    elif damage == 'cut':
        path.write_bytes(path.read_bytes()[:-100])
    else:
        weights = load_file(path)
        weights.pop('head.classifier.bias')
        save_file(weights, path)
    with pytest.raises(BCE3SError, match=r'cannot be read|missing in the checkpoint'):
        Predictor.from_pretrained(path.parent)


def test_code_of_ones_own_is_not_published(trained, tmp_path):
    run = RunDirectory.open(trained)
    run.config.custom_imports = dict(imports=['mine'])
    with pytest.raises(BCE3SError, match='custom_imports'):
        save_pretrained(run, tmp_path / 'out')


@pytest.mark.parametrize('name', ['./nowhere', 'a/b/c', '/nowhere'])
def test_neither_a_folder_nor_a_repository(name):
    with pytest.raises(BCE3SError, match='is no folder'):
        Predictor.from_pretrained(name)


# ---------------------------------------------------------------------------------------- the Hub
DOWNLOAD = """
import sys
from bce3s import Predictor
from bce3s.errors import BCE3SError
for name in sys.argv[1:]:
    try:
        found = Predictor.from_pretrained(name, threshold=None)
        print(found.run.folder, found.classes)
    except BCE3SError as error:
        print('error:', error)
"""


def download(*names, tmp_path, **environment):
    """A line each, of a process that knows nothing: the Hub's package reads the environment when it
    is imported.
    """
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'HF_HOME': str(tmp_path), **environment}
    command = [sys.executable, '-c', DOWNLOAD, *names]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_downloads(folder, tmp_path):
    shutil.copytree(folder, tmp_path / 'repo')
    (tmp_path / 'repo' / 'evil.py').write_text('raise SystemExit')
    with hub_of({'me/digits': tmp_path / 'repo'}) as address:
        said, missing = download(
            'me/digits', 'me/nothing', tmp_path=tmp_path / 'home', HF_ENDPOINT=address
        )
    assert said.endswith(str([str(k) for k in range(10)]))
    where = Path(said.split(' [')[0])
    assert where.name == COMMIT
    assert sorted(path.name for path in where.iterdir()) == FILES[1:]
    again, offline = download(
        'me/digits', 'me/other', tmp_path=tmp_path / 'home', HF_HUB_OFFLINE='1'
    )
    assert again == said
    for line, name in ((missing, 'me/nothing'), (offline, 'me/other')):
        assert line.startswith(f'error: {name} on the Hugging Face Hub: ')


class FakeApi:
    """Records what the Hub's client is asked to do."""

    calls = []

    def create_repo(self, repo, **options):
        self.calls.append(('create', repo, options))
        return SimpleNamespace(repo_id=repo)

    def upload_folder(self, *, repo_id, folder_path, allow_patterns, commit_message):
        names = sorted(path.name for path in Path(folder_path).iterdir())
        self.calls.append(('upload', repo_id, [n for n in names if n in allow_patterns]))
        return SimpleNamespace(repo_url=f'https://hub/{repo_id}')


def test_uploads(trained, monkeypatch, capsys):
    monkeypatch.setattr('huggingface_hub.HfApi', FakeApi)
    FakeApi.calls.clear()
    assert main([str(trained), 'me/digits', '--private']) == 0
    assert capsys.readouterr().out.strip() == 'https://hub/me/digits'
    assert FakeApi.calls == [
        ('create', 'me/digits', dict(private=True, exist_ok=True)),
        ('upload', 'me/digits', FILES),
    ]


@pytest.mark.parametrize(('status', 'said'), [(401, 'log in with'), (500, 'Refused: no')])
def test_a_hub_that_refuses(folder, monkeypatch, status, said):
    class Refused(Exception):
        response = SimpleNamespace(status_code=status)

    monkeypatch.setattr('huggingface_hub.HfApi', Mock(side_effect=Refused('no')))
    with pytest.raises(BCE3SError, match=said):
        push(folder, 'me/digits')


def test_without_the_package_of_the_hub(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(BCE3SError, match='pip install huggingface_hub'):
        push(folder, 'me/digits')
