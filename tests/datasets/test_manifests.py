"""data_lists/ is what its tool writes."""

import gzip
import importlib.util
import json
from pathlib import Path

import pytest

from bce3s.datasets.benchmarks import PublishedList, read_manifest
from bce3s.datasets.lists import git_blob_id
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
    lines = b'a/b c.jpg 0\na/d.jpg 1\na/e.jpg 1\n'
    (tmp_path / 'L.txt').write_bytes(lines)
    assert tool.read_split(2, PublishedList('L', 3), tmp_path)['class_counts'] == [1, 2]
    for sentence, classes, entry in [
        ('git blob id', 2, PublishedList('L', 3, 'f' * 40)),
        ('3 images, the published list has 4', 2, PublishedList('L', 4)),
        ('line 2: .*no label in 0..0', 1, PublishedList('L', 3)),
    ]:
        with pytest.raises(BCE3SError, match=sentence):
            tool.read_split(classes, entry, tmp_path)
    (tmp_path / 'L.txt').unlink()
    (tmp_path / 'L.txt.gz').write_bytes(gzip.compress(lines))
    entry = PublishedList('L', 3, git_blob_id(lines))
    assert tool.read_split(2, entry, tmp_path)['class_counts'] == [1, 2]


def manifest(**changes):
    train = dict(list='T.txt', images=3, git_blob='0' * 40, class_counts=[2, 1])
    test = dict(list='E.txt', images=4, git_blob=None, class_counts=2)
    return dict(num_classes=2, most_and_least=[2, 1], splits=dict(train=train, test=test)) | changes


def read(tmp_path, content):
    path = tmp_path / 'mine.json'
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return read_manifest(path)


def test_reading_one(tmp_path):
    facts = read(tmp_path, b'\xef\xbb\xbf' + json.dumps(manifest()).encode())
    assert (facts.num_classes, facts.benchmark, facts.most_and_least) == (2, 'mine', (2, 1))
    assert facts.splits['train'].git_blob == '0' * 40
    assert (facts.counts('train'), facts.counts('test')) == ([2, 1], [2, 2])
    assert read_manifest(str(facts.path)) == facts
    for name, classes in dict(places_lt=365, imagenet_lt=1000, inaturalist2018=8142).items():
        assert read_manifest(name).num_classes == classes


@pytest.mark.parametrize(
    ('content', 'sentence'),
    [
        (b'{', 'is no JSON file'),
        (b'\xff\xfe{}', 'is no JSON file'),
        (b'[' * 100_000, 'is no JSON file'),
        (b'9' * 5000, 'is no JSON file'),
        ([], 'is no manifest'),
        (dict(dataset='CIFAR10LT'), "'num_classes' is missing"),
        (manifest(num_classes=True), 'num_classes is no whole'),
        (manifest(num_classes=1e3), 'num_classes is no whole'),
        (manifest(num_classes=3), 'train.class_counts are not 3'),
        (manifest(num_classes=10**80), 'num_classes is no whole'),
        (manifest(benchmark=['x']), 'benchmark is no name'),
        (manifest(splits=dict(test={})), "'train' is missing"),
        (manifest(splits=dict(train=3)), 'is no manifest'),
        (manifest(splits=manifest()['splits'] | dict(more={})), 'splits are not of'),
        (manifest(splits=dict(train=dict(list='../x', images=1))), 'list is not the name'),
        (manifest(splits=dict(train=dict(list='T\ud800', images=1))), 'list is not the name'),
        (manifest(splits=dict(train=dict(list='T', images=0))), 'images is no whole'),
        (
            manifest(splits=dict(train=dict(list='T', images=3, git_blob='xyz'))),
            'git_blob is neither',
        ),
        (
            manifest(splits=dict(train=dict(list='T', images=3, class_counts=[1, -2]))),
            'class_counts is no whole',
        ),
        (
            manifest(splits=dict(train=dict(list='T', images=3, class_counts=[1, 1]))),
            'class_counts sum to 2, images is 3',
        ),
        (manifest(most_and_least=[1]), 'is no manifest'),
        (manifest(most_and_least=[3, 1]), 'most_and_least are not those'),
    ],
)
def test_a_bad_one(tmp_path, content, sentence):
    with pytest.raises(BCE3SError, match=sentence):
        read(tmp_path, content)


def test_no_manifest_at_all(tmp_path):
    for name, sentence in {
        'no_such_benchmark': 'name one of data_lists/ .*places_lt',
        str(tmp_path): 'no plain file',
        'a\0b': 'is no JSON file',
        'x' * 5000: 'cannot be read',
    }.items():
        with pytest.raises(BCE3SError, match=sentence):
            read_manifest(name)
    huge = tmp_path / 'huge.json'
    with huge.open('wb') as file:
        file.truncate(1 << 40)
    with pytest.raises(BCE3SError, match='no manifest has more'):
        read_manifest(huge)
