"""The tool that puts data into their places, on benchmarks of a few images in published layouts."""

import gzip
import hashlib
import io
import json
import shlex
import tarfile

import numpy as np
import pytest
from local_server import server as server
from PIL import Image

from bce3s.datasets import benchmarks, download
from bce3s.datasets.benchmarks import read_manifest
from bce3s.datasets.lists import git_blob_id
from bce3s.packaged import DATA_LISTS
from bce3s.prepare_data import main

# published paths, and where they are in the archives
SCENES = ['airfield', 'bakery-shop']
PLACES = {
    'train': [(f'train/{SCENES[k]}/0000000{i}.jpg', k) for k, i in [(0, 1), (0, 3), (1, 2)]],
    'val': [(f'train/{SCENES[k]}/0000000{i}.jpg', k) for k, i in [(0, 4), (1, 5)]],
    'test': [(f'val/{SCENES[k]}/Places365_val_0000000{i}.jpg', k) for k, i in [(0, 2), (1, 1)]],
}
PLACES_TRAIN_TAR = {
    f'data_256/{folder}/0000000{i}.jpg': f'train/{scene}/0000000{i}.jpg'
    for folder, scene in (('a/airfield', 'airfield'), ('b/bakery/shop', 'bakery-shop'))
    for i in range(1, 7)
}
PLACES_VAL_TAR = {
    f'val_256/Places365_val_0000000{i}.jpg': f'val/{SCENES[i % 2]}/Places365_val_0000000{i}.jpg'
    for i in (1, 2, 3)
}
WNIDS = ['n01440764', 'n15075141']
IMAGENET = {
    'train': [(f'train/{WNIDS[k]}/{WNIDS[k]}_{i}.JPEG', k) for k, i in [(0, 10), (0, 11), (1, 7)]],
    'val': [(f'train/{WNIDS[k]}/{WNIDS[k]}_{i}.JPEG', k) for k, i in [(0, 12), (1, 8)]],
    'test': [(f'val/{WNIDS[k]}/ILSVRC2012_val_0000000{i}.JPEG', k) for k, i in [(0, 2), (1, 1)]],
}


def jpeg(name):
    """An image that its name decides."""
    seed = int(hashlib.md5(name.encode()).hexdigest()[:8], 16)
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 48, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, 'JPEG')
    return stream.getvalue()


def tar(files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode='w') as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def places_archives():
    archives = {'train_256_places365standard.tar': PLACES_TRAIN_TAR, 'val_256.tar': PLACES_VAL_TAR}
    return {
        name: tar({member: jpeg(path) for member, path in members.items()})
        for name, members in archives.items()
    }


def imagenet_archives():
    train = {
        f'{w}.tar': tar(
            {f'{w}_{i}.JPEG': jpeg(f'train/{w}/{w}_{i}.JPEG') for i in (7, 8, 10, 11, 12, 99)}
        )
        for w in WNIDS
    }
    flat = {p.rpartition('/')[2]: jpeg(p) for p, _ in IMAGENET['test']}
    return {'ILSVRC2012_img_train.tar': tar(train), 'ILSVRC2012_img_val.tar': tar(flat)}


def text(entries):
    """Lines, or a table where labels are names."""
    if isinstance(entries[0][1], str):
        return ''.join(
            f'{path},{label}\n' for path, label in [('path', 'labels'), *entries]
        ).encode()
    return ''.join(f'{path} {label}\n' for path, label in entries).encode()


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Gives a benchmark other lists and archives: the lists lie in ``lists``, the manifest in
    ``manifests``; what it returns runs the tool on ``data``.
    """
    (tmp_path / 'lists').mkdir()
    (tmp_path / 'manifests').mkdir()
    monkeypatch.setattr(benchmarks, 'DATA_LISTS', tmp_path / 'manifests')
    monkeypatch.setattr(download, 'TIMEOUT', (0.2, 0.2))

    def install(name, entries, archives, url=None, **changes):
        """``changes``: split -> of its entry in the manifest."""
        manifest = json.loads((DATA_LISTS / f'{name}.json').read_text())
        for split, listed in entries.items():
            content, entry = text(listed), manifest['splits'][split]
            (tmp_path / f'lists/{entry["list"]}.gz').write_bytes(gzip.compress(content))
            entry |= dict(images=len(listed), git_blob=git_blob_id(content), url=None)
            entry |= dict(by_hand='') | changes.get(split, {})
        for archive in manifest['archives']:
            file = archive['file']
            archive |= dict(md5=md5(archives, file), url=url and f'{url}/{file}', size='tiny')
        manifest |= dict(num_classes=2, page='https://page')
        (tmp_path / f'manifests/{name}.json').write_text(json.dumps(manifest))
        return lambda *arguments: main(
            [name, '--data-root', str(tmp_path / 'data'), '--no-figure', *map(str, arguments)]
        )

    return install


def md5(archives, file):
    return hashlib.md5(archives[file]).hexdigest() if file in archives else None


def put(folder, archives):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in archives.items():
        (folder / name).write_bytes(content)


def check_images(root, entries):
    """Every image is there with the content that belongs to its path, and no other one."""
    paths = {path for listed in entries.values() for path, _ in listed}
    for path in paths:
        assert (root / path).read_bytes() == jpeg(path)
    there = {
        str(p.relative_to(root)) for split in ('train', 'val') for p in (root / split).rglob('*.*')
    }
    assert there == paths


VOC = {  # several labels an image
    split: [(f'VOC{year}/JPEGImages/{year}_{i}.jpg', label) for i, label in enumerate(labels)]
    for split, year, labels in [('train', 2012, ['cat;dog', 'dog', '']), ('test', 2007, ['cat'])]
}


def voc_archives():
    names = ('VOCtrainval_11-May-2012.tar', 'VOCtest_06-Nov-2007.tar')
    return {
        name: tar({f'VOCdevkit/{path}': jpeg(path) for path, _ in listed})
        for name, listed in zip(names, VOC.values(), strict=True)
    }


def test_lists_with_several_labels_whose_content_nobody_published(tmp_path, capsys, tiny):
    run = tiny('voc_lt', VOC, voc_archives(), train=dict(git_blob=None), test=dict(git_blob=None))
    put(tmp_path / 'data/voc_lt', voc_archives())
    assert run('--lists-from', tmp_path / 'lists') == 0
    said = capsys.readouterr().out
    assert '3 labels, 1 to 2 a class of 3 images' in said
    assert (tmp_path / 'data/voc_lt/VOC2007/JPEGImages/2007_0.jpg').is_file()
    for path in (tmp_path / 'data/voc_lt').glob('*.csv'):
        path.unlink()
    assert run() == 1
    assert 'VOC_LT_test.csv: is missing' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('name', 'entries', 'archives'),
    [
        ('places_lt', PLACES, places_archives()),
        ('imagenet_lt', IMAGENET, imagenet_archives()),
    ],
)
def test_from_lists_and_archives(tmp_path, capsys, tiny, name, entries, archives):
    run = tiny(name, entries, archives)
    root = tmp_path / 'data' / name
    assert run('--lists-from', tmp_path / 'lists') == 1  # no image yet
    said = capsys.readouterr()
    assert '2 classes' in said.out
    assert f'Missing are 7 of 7 images below {root}' in said.err
    for file, content in archives.items():
        assert (
            f'{file} (tiny, MD5 {hashlib.md5(content).hexdigest()}): from https://page' in said.err
        )
    if name == 'imagenet_lt':
        assert 'log in' in said.err
    assert sorted(p.name for p in root.iterdir()) == sorted(
        each.file for each in read_manifest(name).splits.values()
    )

    put(tmp_path / 'downloads', archives)
    assert run('--archives', tmp_path / 'downloads', '--check', 'pixels') == 0
    assert 'test: 2 images checked (pixels)' in capsys.readouterr().out
    check_images(root, entries)

    lost, cut = (root / entries['train'][i][0] for i in (0, 1))
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:-100])
    assert run('--archives', tmp_path / 'downloads') == 0  # also what has another size
    assert '2 images unpacked' in capsys.readouterr().out
    check_images(root, entries)
    (tmp_path / 'downloads').rename(tmp_path / 'away')  # no longer needed
    assert run() == 0


def test_everything_that_is_wrong_at_once(tmp_path, capsys, tiny):
    archives = places_archives()
    run = tiny('places_lt', PLACES, archives)
    put(tmp_path / 'data', archives)  # beside the benchmark's folder will do
    assert run('--lists-from', tmp_path / 'lists') == 0
    root = tmp_path / 'data/places_lt'
    broken = [root / PLACES[split][0][0] for split in ('train', 'val', 'test')]
    for path in broken:
        path.write_bytes(path.read_bytes()[:-200])
    assert run() == 1
    said = capsys.readouterr().err
    assert all(str(path) in said for path in broken)
    assert run('--check', 'files') == 0
    assert run('--check', 'none') == 0


def test_archives_that_are_not_the_published_ones(tmp_path, capsys, tiny):
    archives = places_archives()
    run = tiny('places_lt', PLACES, archives)
    put(tmp_path / 'data', {'val_256.tar': archives['val_256.tar'][:-1]})
    assert run('--lists-from', tmp_path / 'lists') == 1
    assert 'val_256.tar: MD5' in capsys.readouterr().err
    assert not (tmp_path / 'data/places_lt/val').exists()


def test_an_archive_without_some_of_the_images(tmp_path, capsys, tiny):
    archives = places_archives()
    without = {m: jpeg(p) for m, p in PLACES_TRAIN_TAR.items() if p != PLACES['train'][1][0]}
    archives['train_256_places365standard.tar'] = tar(without)
    run = tiny('places_lt', PLACES, archives)
    put(tmp_path / 'data', archives)
    assert run('--lists-from', tmp_path / 'lists') == 1
    said = capsys.readouterr()
    assert '1 are not in it' in said.out
    assert 'train/airfield/00000003.jpg is missing' in said.err
    assert 'Missing are 1 of 7 images' in said.err
    assert 'They are not in ' in said.err


def test_the_archive_that_is_laid_out_as_the_lists_are(tmp_path, tiny):
    run = tiny('places_lt', PLACES, {})
    paths = [*PLACES_TRAIN_TAR.values(), *PLACES_VAL_TAR.values()]
    easy = tar({f'places365_standard/{path}': jpeg(path) for path in paths})
    put(tmp_path / 'data/places_lt', {'places365standard_easyformat.tar': easy})
    assert run('--lists-from', tmp_path / 'lists') == 0
    check_images(tmp_path / 'data/places_lt', PLACES)


def test_what_was_unpacked_before_is_linked(tmp_path, capsys, tiny):
    run = tiny('places_lt', PLACES, places_archives())
    for member, path in (PLACES_TRAIN_TAR | PLACES_VAL_TAR).items():
        put((tmp_path / 'big' / member).parent, {member.rpartition('/')[2]: jpeg(path)})
    assert run('--lists-from', tmp_path / 'lists', '--archives', tmp_path / 'big') == 0
    assert '7 images linked' in capsys.readouterr().out
    check_images(tmp_path / 'data/places_lt', PLACES)
    assert (tmp_path / 'data/places_lt' / PLACES['test'][0][0]).is_symlink()


def test_wrong_lists_get_no_name(tmp_path, capsys, tiny):
    run = tiny('places_lt', PLACES, {})
    (tmp_path / 'lists/Places_LT_train.txt').write_bytes(
        text(PLACES['train']).replace(b'\n', b'\r\n')
    )
    (tmp_path / 'lists/Places_LT_val.txt.gz').write_bytes(b'\x1f\x8bno gzip')
    (tmp_path / 'lists/Places_LT_test.txt.gz').unlink()
    assert run('--lists-from', tmp_path / 'lists') == 1
    said = capsys.readouterr().err
    assert 'Places_LT_train.txt is not the published Places_LT_train.txt: its git blob id' in said
    assert 'Places_LT_val.txt.gz cannot be read' in said
    assert 'Places_LT_test.txt: is missing' in said
    assert not (tmp_path / 'data').exists() or not list((tmp_path / 'data').rglob('*.*'))
    put(tmp_path / 'data/places_lt', {'Places_LT_val.txt': text(PLACES['test'])})
    assert run() == 1  # also one that lies there under its name
    assert 'Places_LT_val.txt is not the published' in capsys.readouterr().err


def test_fetching(tmp_path, capsys, tiny, server, monkeypatch):
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    archives = places_archives()
    names = {split: f'Places_LT_{split}.txt' for split in PLACES}
    urls = {split: dict(url=f'{server.url}/{name}') for split, name in names.items()}
    run = tiny('places_lt', PLACES, archives, server.url, **urls)
    for split, name in names.items():
        server.files[f'/{name}'] = text(PLACES[split])
    server.files['/Places_LT_val.txt'] = b'<html>please log in</html>'
    assert run('--download-images') == 1
    said = capsys.readouterr().err
    assert 'Places_LT_val.txt is not the published' in said
    server.files['/Places_LT_val.txt'] = text(PLACES['val'])
    server.files['/val_256.tar'] = archives['val_256.tar']
    assert run('--download-images') == 1
    said = capsys.readouterr()
    assert 'train_256_places365standard.tar: 404' in said.out
    assert f'MD5 {md5(archives, "train_256_places365standard.tar")}): {server.url}' in said.err
    server.files['/train_256_places365standard.tar'] = archives['train_256_places365standard.tar']
    assert run('--download-images') == 0
    check_images(tmp_path / 'data/places_lt', PLACES)
    server.asked.clear()
    assert run('--download-images') == 0
    assert server.asked == []


INATURALIST = {
    'train': [('train_val2018/Aves/0/ab.jpg', 0), ('train_val2018/Fungi/1/cd.jpg', 1)],
    'val': [('train_val2018/Aves/0/ef.jpg', 0), ('train_val2018/Fungi/1/01.jpg', 1)],
}


def test_lists_made_from_annotations(tmp_path, capsys, tiny):
    paths = [p for listed in INATURALIST.values() for p, _ in listed]
    images = {'train_val2018.tar.gz': gzip.compress(tar({p: jpeg(p) for p in paths}))}
    packed, changes = {}, {}
    for split, listed in INATURALIST.items():
        name = f'{split}2018.json'
        content = dict(
            images=[dict(id=i, file_name=p) for i, (p, _) in enumerate(listed)],
            annotations=[dict(id=i, image_id=i, category_id=k) for i, (_, k) in enumerate(listed)],
        )
        archive = f'{name}.tar.gz'
        packed[archive] = gzip.compress(tar({name: json.dumps(content).encode()}))
        known = dict(file=name, archive=archive, url='http://127.0.0.1:9/x')
        changes[split] = dict(annotations=known | dict(md5=md5(packed, archive)))
    run = tiny('inaturalist2018', INATURALIST, images, **changes)
    assert run() == 1  # neither lists nor annotations
    said = capsys.readouterr().err
    assert f'download http://127.0.0.1:9/x (26 MB, MD5 {md5(packed, archive)})' in said
    put(tmp_path / 'data/inaturalist2018', packed)
    put(tmp_path / 'data/inaturalist2018', images)
    assert run() == 0
    assert 'iNaturalist18_val.txt: from' in capsys.readouterr().out
    for path in paths:
        assert (tmp_path / 'data/inaturalist2018' / path).read_bytes() == jpeg(path)


def own_images(root, names):
    for name in names:
        put((root / name).parent, {name.rpartition('/')[2]: jpeg(name)})


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, another one than that of the images."""
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    return tmp_path / 'here'


def test_a_folder(tmp_path, capsys, here):
    root = tmp_path / 'my pets'
    own_images(root, ['train/cat/1.jpg', 'train/cat/2.jpg', 'train/dog/1.jpg', 'val/dog/9.jpg'])
    before = sorted(root.rglob('*'))
    assert main(['folder', str(root)]) == 0
    said = capsys.readouterr().out
    assert 'most frequent 0 (cat): 2, 1 (dog): 1' in ' '.join(said.split())
    command = f"tools/train.py configs/bce3s/my_folder.py --cfg-options 'data_root={root}'"
    assert said.endswith(f'{command}\n')
    assert Image.open(here / 'my pets_class_frequencies.png').format == 'PNG'
    assert sorted(root.rglob('*')) == before  # nothing is written to the images
    (root / 'train/dog/1.jpg').write_bytes(b'')
    (root / 'val/dog/9.jpg').write_bytes(b'')
    assert main(['folder', str(root), '--no-figure']) == 1
    said = capsys.readouterr()
    assert 'train/dog/1.jpg' in said.err
    assert 'val/dog/9.jpg' in said.err
    assert 'tools/train.py' not in said.out
    assert main(['folder', str(root / 'train'), '--no-figure', '--check', 'none']) == 0
    assert main(['folder', str(tmp_path / 'nothing')]) == 1


@pytest.mark.usefixtures('here')
def test_folders_of_one_class(tmp_path, capsys):
    own_images(tmp_path / 'up', ['mine/cat/1.jpg', 'mine/dog/1.jpg'])
    assert main(['folder', str(tmp_path / 'up')]) == 1
    said = capsys.readouterr().err
    assert "one folder only, 'mine', which holds folders itself ('cat', 'dog'): name that" in said
    assert str(tmp_path / 'up/mine') in said
    assert main(['folder', str(tmp_path / 'up/mine')]) == 0
    own_images(tmp_path / 'single', ['train/cat/1.jpg', 'val/cat/2.jpg'])
    assert main(['folder', str(tmp_path / 'single')]) == 1
    assert "train holds one class only, 'cat': to tell" in capsys.readouterr().err
    (tmp_path / 'single/one.csv').write_text('path,label\ntrain/cat/1.jpg,cat\n')
    assert main(['list', str(tmp_path / 'single/one.csv'), '--no-figure']) == 1
    assert 'images of one class: to tell' in capsys.readouterr().err


@pytest.mark.usefixtures('here')
def test_inspection(tmp_path, capsys):
    names = [f'{split}/{name}/{i}.jpg' for split in ('train', 'val') for name in 'ab' for i in '12']
    own_images(tmp_path, names)
    (tmp_path / 'train/a/3.jpg').write_bytes((tmp_path / 'train/b/1.jpg').read_bytes())
    assert main(['folder', str(tmp_path), '--no-figure', '--inspect']) == 0
    said = capsys.readouterr().out
    assert '1 pair of pictures is the same under two labels' in said
    assert '  train/b/1.jpg and train/a/3.jpg\n' in said
    assert '2 classes have under 5 training images' in said
    assert main(['folder', str(tmp_path), '--no-figure']) == 0
    assert 'under two labels' not in capsys.readouterr().out
    (tmp_path / 'l.csv').write_text('train/a/1.jpg;x\ntrain/b/2.jpg;y\nval/a/1.jpg;x\n')
    assert main(['list', str(tmp_path / 'l.csv'), '--no-figure', '--inspect']) == 0
    assert 'under 5 training images (1 of them one only)' in capsys.readouterr().out


def test_lists_of_ones_own(tmp_path, capsys):
    own_images(tmp_path / 'images', ['a 1.jpg', 'b.jpg', 'c.jpg'])
    (tmp_path / 'train.csv').write_text('path,label\na 1.jpg,cat\nb.jpg,dog\n')
    (tmp_path / 'test.csv').write_text('path,label\nc.jpg,dog\n')
    call = ['list', str(tmp_path / 'train.csv'), str(tmp_path / 'test.csv'), '--no-figure']
    assert main([*call, '--data-root', str(tmp_path / 'images')]) == 0
    said = capsys.readouterr().out
    assert '1 (dog): 1' in said
    assert 'trains on lists called train.csv' in said  # the images are elsewhere
    assert main(call) == 1  # relative to the list
    assert 'train.csv' in capsys.readouterr().err
    (tmp_path / 'images/c.jpg').write_bytes(jpeg('a 1.jpg'))
    assert main([*call, '--data-root', str(tmp_path / 'images')]) == 1
    assert 'training image' in capsys.readouterr().err


def test_tables_of_other_shapes(tmp_path, capsys):
    own_images(tmp_path, ['a 1.jpg', 'b.jpg'])
    (tmp_path / 'train.csv').write_text('file name;kind of animal;x\na 1.jpg;cat;\nb.jpg;dog;\n')
    call = ['list', str(tmp_path / 'train.csv'), '--no-figure']
    assert main(call) == 1
    assert '--columns PATHS LABELS' in capsys.readouterr().err
    assert main([*call, '--columns', 'file name', 'kind of animal']) == 0
    command = capsys.readouterr().out.splitlines()[-1]
    options = shlex.split(command.partition('--cfg-options ')[2])
    assert options == [f'data_root={tmp_path}', 'own_data.columns=(file name,kind of animal)']
    (tmp_path / 'mine.csv').write_text('a 1.jpg;cat\nb.jpg;dog\n')
    assert main(['list', str(tmp_path / 'mine.csv'), '--no-figure']) == 0
    assert capsys.readouterr().out.endswith(f'--cfg-options data_root={tmp_path}/mine.csv\n')
    for arguments in (['folder', 'a', '--columns', 'a', 'b'], ['digits_lt', '--inspect']):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2


def test_a_data_set_in_memory(tmp_path, capsys):
    assert main(['digits_lt', '--data-root', str(tmp_path), '--imbalance-factor', '10']) == 0
    said = capsys.readouterr().out
    assert 'train 486 images, 12 to 120 a class' in ' '.join(said.split())
    assert (tmp_path / 'digits_lt/class_frequencies.png').is_file()


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['nothing'], 'is no data set: use imagenet_lt'),
        (['list'], 'list takes TRAIN'),
        (['folder', 'a', 'b'], 'folder takes one DIR'),
        (['places_lt', '--lists-from', '/does/not/exist'], 'is no folder'),
        (['digits_lt', '--imbalance-factor', '1000'], 'would have no training image'),
    ],
)
def test_wrong_arguments(tmp_path, capsys, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
