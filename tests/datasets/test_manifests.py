"""data_lists/ is what its tool writes."""

import gzip
import importlib.util
import json
from pathlib import Path

import pytest

from bce3s.errors import BCE3SError

ROOT = Path(__file__).resolve().parents[2]


def load_tool():
    spec = importlib.util.spec_from_file_location('manifests', ROOT / 'tools/write_manifests.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_manifests_are_up_to_date():
    assert load_tool().main(['--check']) == 0


def test_manifest_tool(tmp_path, capsys):
    tool = load_tool()
    assert tool.main(['--out', str(tmp_path), '--check']) == 1  # nothing there yet
    assert tool.main(['--out', str(tmp_path)]) == 0
    assert tool.main(['--out', str(tmp_path), '--check']) == 0
    (tmp_path / 'mnist_lt.json').write_text('{}')
    assert tool.main(['--out', str(tmp_path), '--check']) == 1
    assert 'mnist_lt.json: not up to date' in capsys.readouterr().out
    # no list has been read into this folder
    assert '"class_counts": null' in (tmp_path / 'places_lt.json').read_text()


def test_list_facts():
    places = json.loads((ROOT / 'data_lists/places_lt.json').read_text())
    counts = places['splits']['train']['class_counts']
    assert (len(counts), sum(counts), max(counts), min(counts)) == (365, 62500, 4980, 5)
    imagenet = json.loads((ROOT / 'data_lists/imagenet_lt.json').read_text())
    assert imagenet['splits']['train']['class_counts'] is None


def test_a_list_that_is_not_the_published_one(tmp_path):
    tool = load_tool()
    assert tool.git_blob(b'hello\n') == 'ce013625030ba8dba906f756967f9e9ca394464a'
    lines = b'a/b c.jpg 0\na/d.jpg 1\na/e.jpg 1\n'
    (tmp_path / 'L.txt').write_bytes(lines)
    assert tool.read_split(2, 'L', 3, None, tmp_path)['class_counts'] == [1, 2]
    for sentence, arguments in [
        ('git blob id', (2, 'L', 3, 'f' * 40, tmp_path)),
        ('3 images, the published list has 4', (2, 'L', 4, None, tmp_path)),
        ('line 2: .*no label in 0..0', (1, 'L', 3, None, tmp_path)),
    ]:
        with pytest.raises(BCE3SError, match=sentence):
            tool.read_split(*arguments)
    (tmp_path / 'L.txt').unlink()
    (tmp_path / 'L.txt.gz').write_bytes(gzip.compress(lines))
    assert tool.read_split(2, 'L', 3, tool.git_blob(lines), tmp_path)['class_counts'] == [1, 2]
