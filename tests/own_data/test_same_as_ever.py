"""Which images, labels, classes and splits each form of somebody's data gives: pinned, so that a
run that was begun before goes on with the same ones.
"""

import hashlib
import json

import pytest
from picture_folders import put

from bce3s.datasets.image_folder import ImageFolder
from bce3s.datasets.image_list import ImageList
from bce3s.own_data.find import find
from bce3s.own_data.splits import hold_out

NAMES = ['10', '9', 'b é', 'a']  # of classes, in no order


def files(*splits):
    """``SPLIT/CLASS/I.png`` of a long tail; without splits ``CLASS/I.png``."""
    counts = {split: 12 // (1 + s) for s, split in enumerate(splits or ('',))}
    return [
        (f'{split}/{name}/{i}.png'.lstrip('/'), name, split)
        for split, most in counts.items()
        for k, name in enumerate(NAMES)
        for i in range(max(1, most // (k + 1)))
    ]


def class_folders(root):
    put(root, *(path for path, *_ in files()))
    return root


def split_folders(root):
    put(root, *(path for path, *_ in files('Training', 'valid', 'test')))
    return root


def lists(root):
    for split in ('train', 'val'):
        own = files(split)
        put(root, *(path for path, *_ in own))
        lines = [f'{path} {NAMES.index(name)}' for path, name, _ in own]
        (root / f'{split}.txt').write_text('\n'.join(lines))
    return root


def one_table(root):
    own = files('train', 'val', 'test')
    put(root, *(path for path, *_ in own))
    rows = ['image;species;split', *(';'.join(row) for row in own)]
    (root / 'all.csv').write_text('\n'.join(rows))
    return root / 'all.csv'


def table_beside_a_folder(root):
    own = files()
    put(root, *(f'train_images/{i:03}.JPG' for i in range(len(own))))
    rows = [f'{i:03},{name}' for i, (_, name, _) in enumerate(own)]
    (root / 'train.csv').write_text('\n'.join(['image_id,label', *rows]))
    return root / 'train.csv'


def one_hot(root):
    own = files()
    put(root, *(path for path, *_ in own))
    rows = [','.join([path, *('01'[name == each] for each in NAMES)]) for path, name, _ in own]
    (root / 'marks.csv').write_text('\n'.join([','.join(['id', *NAMES]), *rows]))
    return root / 'marks.csv'


def metadata(root):
    for split in ('train', 'test'):
        own = files()
        put(root, *(f'{split}/{path}' for path, *_ in own))
        rows = ['file_name,label', *(f'{path},{name}' for path, name, _ in own)]
        (root / split / 'metadata.csv').write_text('\n'.join(rows))
    return root


def digest(*values):
    return hashlib.sha256(json.dumps(values, ensure_ascii=False).encode()).hexdigest()[:16]


FORMS = {
    class_folders: '4a32e0ba1c45d1de',
    split_folders: 'e720d7dd7c198cea',
    lists: '83606d003f716ba4',
    one_table: '961fd84c64d21537',
    table_beside_a_folder: 'b5319c282c61d8b9',
    one_hot: '4a32e0ba1c45d1de',
    metadata: '65741aadbd3ee124',
}


@pytest.mark.parametrize('form', FORMS, ids=lambda form: form.__name__)
def test_own_images(tmp_path, form):
    found = find(form(tmp_path / 'mine'))
    if 'val' not in found.splits:
        found = hold_out(found)
    place = str(found.root.relative_to(tmp_path))
    assert digest(place, found.classes, found.splits, found.made) == FORMS[form]


def of(dataset, root):
    paths = [path.removeprefix(f'{root}/') for path in dataset.paths]
    return paths, dataset.labels.tolist(), dataset.metainfo['classes']


def test_data_sets_of_benchmarks(tmp_path):
    own = files('train', 'val')
    put(tmp_path, *(path for path, *_ in own))
    for split in ('train', 'val'):
        rows = [f'{path},{name}' for path, name, part in own if part == split]
        (tmp_path / f'{split}.csv').write_text('\n'.join(['path,label', *rows]))
    names = dict(train='train.csv', val='val.csv')
    sets = [ImageFolder(str(tmp_path), split) for split in ('train', 'test')]
    sets += [ImageList(str(tmp_path), names, split) for split in ('train', 'val')]
    assert digest(*(of(each, tmp_path) for each in sets)) == '40136078c4ba3f8e'
