"""JSON annotations become the published list, byte for byte; bad ones a sentence each."""

import copy
import json
from pathlib import Path

import pytest

from bce3s.datasets.benchmark_files import list_of_annotations
from bce3s.datasets.benchmarks import read_manifest
from bce3s.datasets.lists import git_blob_id, read_list
from bce3s.errors import BCE3SError

PUBLISHED = Path(__file__).resolve().parents[3] / 'shared/data/lists/iNaturalist18_val.txt.gz'


def annotations(paths, labels, first=1000):
    """As iNaturalist writes it."""
    images = [dict(id=first + i, file_name=path, width=8) for i, path in enumerate(paths)]
    marks = [
        dict(id=first + i, image_id=first + i, category_id=label) for i, label in enumerate(labels)
    ]
    categories = [dict(id=k, name=f'species {k}') for k in sorted(set(labels))]
    return dict(info=dict(year=2018), images=images, annotations=marks, categories=categories)


GOOD = annotations(['t/Aves/1/b.jpg', 't/Aves/0/a c.jpg', 't/Aves/1/\u00e9.jpg'], [1, 0, 1])


def convert(tmp_path, content, num_classes=2):
    path = tmp_path / 'train2018.json'
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return list_of_annotations(path, num_classes)


def test_order_and_form(tmp_path):
    expected = 't/Aves/1/b.jpg 1\nt/Aves/0/a c.jpg 0\nt/Aves/1/\u00e9.jpg 1\n'.encode()
    assert convert(tmp_path, GOOD) == expected
    shuffled = dict(GOOD, annotations=GOOD['annotations'][::-1])
    assert convert(tmp_path, shuffled) == expected  # the order is that of the images


@pytest.mark.skipif(not PUBLISHED.is_file(), reason='no published list')
def test_the_published_list_comes_back(tmp_path):
    entries = read_list(PUBLISHED)
    content = convert(tmp_path, annotations(entries.paths, entries.labels, 437513), 8142)
    assert git_blob_id(content) == read_manifest('inaturalist2018').splits['val'].git_blob
    assert len(content.splitlines()) == 24426


def changed(**places):
    """GOOD with ``images_0_id=...``: None removes the key."""
    content = copy.deepcopy(GOOD)
    for place, value in places.items():
        key, index, field = place.split('_', 2)
        if value is None:
            del content[key][int(index)][field]
        else:
            content[key][int(index)][field] = value
    return content


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'\xff',
        b'[' * 100_000,
        [1],
        {},
        dict(images=[1, None], annotations=3),
        changed(images_0_id=None),
        changed(images_2_id=7),
        changed(images_0_file_name=None),
        changed(images_0_file_name='a\ud800'),
        changed(annotations_0_image_id='1000'),
        changed(annotations_0_category_id=2),
        changed(annotations_0_category_id=-1),
    ],
)
def test_bad_ones(tmp_path, content):
    with pytest.raises(
        BCE3SError, match=r'does not hold the annotations .*fetch it again'
    ) as caught:
        convert(tmp_path, content)
    assert len(str(caught.value)) < 400


def test_no_file(tmp_path):
    with pytest.raises(BCE3SError, match='cannot be read'):
        list_of_annotations(Path(tmp_path / 'none.json'), 2)
