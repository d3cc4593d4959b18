"""What is found in folders and lists of somebody's own images, and what is said of bad ones."""

import os

import pytest
from picture_folders import put
from PIL import Image

from bce3s.errors import BCE3SError
from bce3s.own_data.find import ListOptions, find
from bce3s.own_data.found import read_splits, write_splits
from bce3s.own_data.settings import Facts
from bce3s.own_data.splits import hold_out, usable


def named(found, split='train'):
    """path -> name of the class."""
    return {path: found.classes[label] for path, label in found.splits[split]}


def test_folders_of_classes(tmp_path):
    put(tmp_path, 'cat/1.png', 'cat/2.JPG', 'cat/deep/er/3.Jpeg', 'ant/1.png', 'no class.png')
    put(tmp_path, '.hidden/1.png', 'cat/.4.png', '__MACOSX/cat/5.png', 'class_frequencies.png')
    (tmp_path / 'ant' / 'notes.txt').write_text('no image')
    (tmp_path / 'empty').mkdir()
    found = find(tmp_path)
    assert found.classes == ['ant', 'cat']
    assert list(found.splits) == ['train']
    assert found.splits['train'] == [
        ('ant/1.png', 0),
        ('cat/1.png', 1),
        ('cat/2.JPG', 1),
        ('cat/deep/er/3.Jpeg', 1),
    ]
    assert found.counts('train') == [1, 3]
    assert found.counts('val') == [0, 0]
    assert found.root == tmp_path
    assert any('in no class folder: 1 image' in note for note in found.notes)
    assert any("'empty'" in note for note in found.notes)


@pytest.mark.parametrize('name', ['two words', 'café', 'рыба', '猫', 'rose 🌹', '7', 'it\'s, "so"'])
def test_any_name_of_a_class(tmp_path, name):
    put(tmp_path, f'{name}/1.png', f'{name}/2.png', 'zz/1.png')
    found = find(tmp_path)
    assert sorted(found.classes) == sorted([name, 'zz'])
    assert set(named(found).values()) == {name, 'zz'}


def test_names_that_a_mac_decomposed_are_the_same_class(tmp_path):
    put(tmp_path, 'train/caf\u00e9/1.png', 'train/b/1.png', 'val/cafe\u0301/2.png')
    found = find(tmp_path)
    assert found.classes == ['b', 'caf\u00e9']
    assert named(found, 'val') == {'val/cafe\u0301/2.png': 'caf\u00e9'}


def test_a_class_may_be_called_train(tmp_path):
    put(tmp_path, 'train/1.png', 'plane/1.png', 'car/1.png')
    assert find(tmp_path).classes == ['car', 'plane', 'train']


def test_unlabelled_test_images_are_passed_over(tmp_path):
    put(tmp_path, 'train/a/1.png', 'train/b/1.png', 'test/1.png')
    found = find(tmp_path)
    assert list(found.splits) == ['train']
    assert any("'test'" in note for note in found.notes)


def test_a_split_may_be_left_out(tmp_path):
    put(tmp_path, *(f'{split}/{c}/1.png' for split in ('train', 'val', 'test') for c in 'ab'))
    put(tmp_path, 'test/c/1.png')
    with pytest.raises(BCE3SError, match=r'leave the split out: own_data\.leave_out=test\.$'):
        find(tmp_path)
    found = find(tmp_path, ListOptions(leave_out=('test',)))
    assert list(found.splits) == ['train', 'val']
    assert "'test'" in found.notes[-1]
    assert list(find(tmp_path, ListOptions(leave_out=('test', 'val'))).splits) == ['train']


@pytest.mark.parametrize('form', ['a list each', 'one list'])
def test_a_listed_split_may_be_left_out(tmp_path, form):
    put(tmp_path, '1.png', '2.png', '3.png')
    rows = ['1.png,a,train\n', '2.png,b,train\n', '3.png,no class of the training,test\n']
    if form == 'one list':
        (tmp_path / 'all.csv').write_text(f'path,label,split\n{"".join(rows)}')
    else:
        (tmp_path / 'train.csv').write_text(f'path,label,x\n{"".join(rows[:2])}')
        (tmp_path / 'test.csv').write_text(f'path,label,x\n{rows[2]}')
    data = tmp_path / 'all.csv' if form == 'one list' else tmp_path
    with pytest.raises(BCE3SError):
        find(data)
    assert list(find(data, ListOptions(leave_out=('test',))).splits) == ['train']


def test_what_no_list_names_is_told(tmp_path):
    put(tmp_path, 'a/1.png', 'a/2.png', 'a/3.png', 'more/4.png')
    (tmp_path / 'train.csv').write_text('path,label\na/1.png,x\n./a/2.png,y\n')
    (tmp_path / 'a/notes.txt').write_text('no image')
    (tmp_path / 'a/Thumbs.db').write_bytes(b'')
    assert find(tmp_path).notes[-1] == (
        f"Passed over in {tmp_path}: 'more'; 1 .txt (a); left behind by systems and tools: "
        "'Thumbs.db'; 1 image in no list."
    )


def test_a_class_that_the_training_lacks(tmp_path):
    put(tmp_path, 'train/a/1.png', 'train/b/1.png', 'val/c/1.png')
    with pytest.raises(BCE3SError, match=r"'c': a class of 'val' that the training images do not"):
        find(tmp_path)


def test_one_folder_too_high(tmp_path):
    put(tmp_path, 'x/photos/a/1.png', 'x/photos/b/1.png')
    found = find(tmp_path)
    assert (found.classes, found.root) == (['a', 'b'], tmp_path / 'x/photos')
    assert sum('holds one folder only' in note for note in found.notes) == 2
    assert find(tmp_path / 'x/photos').splits == found.splits


def test_classes_of_classes_are_said_to_be_taken_together(tmp_path):
    put(tmp_path, 'animals/cat/1.png', 'animals/dog/1.png', 'cars/red/1.png')
    found = find(tmp_path)
    assert found.classes == ['animals', 'cars']
    assert any('upper folders are taken for the classes' in note for note in found.notes)


def test_classes_in_the_folders_of_their_parents(tmp_path):
    images = ('beasts/cat/1.png', 'beasts/other/2.png', 'birds/other/a/3.png', 'birds/4.png')
    put(tmp_path, *(f'{split}/{image}' for split in ('train', 'val') for image in images))
    nested = ListOptions(nested=True)
    found = find(tmp_path, nested)
    assert found.classes == ['beasts/cat', 'beasts/other', 'birds/other']
    for split in ('train', 'val'):
        assert named(found, split) == {
            f'{split}/{image}': name for image, name in zip(images, found.classes, strict=False)
        }
    assert sum('and of no class: 1 image' in note for note in found.notes) == 2
    (tmp_path / 'train/parents.csv').write_text('class,parent\n')
    alone = find(tmp_path / 'train', nested)
    assert named(alone) == dict(zip(images, found.classes, strict=False))
    assert not any('parents.csv' in note for note in alone.notes)


def test_links(tmp_path):
    put(tmp_path / 'elsewhere', '1.png', '2.png')
    root = tmp_path / 'pictures'
    put(root, 'b/1.png')
    (root / 'a').symlink_to(tmp_path / 'elsewhere')
    (root / 'b' / 'up').symlink_to(root)  # a circle
    (root / 'b' / 'gone.png').symlink_to(root / 'nowhere')
    found = find(root)
    assert {'a/1.png', 'a/2.png', 'b/1.png'} <= named(found).keys()
    rest, _ = usable(found)
    assert 'b/gone.png' not in named(rest)
    assert any('links to a file that is not there' in note for note in rest.notes)


def test_what_a_run_wrote_is_no_class(tmp_path):
    put(tmp_path, 'a/1.png', 'b/1.png', 'work/report.png', 'work_dirs/x/report.png')
    (tmp_path / 'work/report.json').write_text('{}')
    (tmp_path / 'work_dirs/x/last_checkpoint').write_text('epoch_1.pth')
    assert find(tmp_path).classes == ['a', 'b']
    with pytest.raises(BCE3SError, match='the folder of a run'):
        find(tmp_path / 'work')


def test_a_link_to_itself_is_passed_over(tmp_path):
    put(tmp_path, 'a/1.png', 'b/1.png')
    (tmp_path / 'c').symlink_to(tmp_path / 'c')
    (tmp_path / 'a/d').symlink_to(tmp_path / 'a/d')
    assert find(tmp_path).classes == ['a', 'b']


def written_as(path, kind):
    """An image whose ending does not tell its format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (8, 8), (len(path.name), 0, 0)).save(path, kind)


def test_images_of_every_ending_and_of_none_are_found(tmp_path):
    put(tmp_path, 'a/1.png', 'b/1.gif', 'b/2.JFIF', 'b/3.avif')
    written_as(tmp_path / 'b/IMG_4', 'JPEG')
    written_as(tmp_path / 'b/5.heic', 'PNG')
    found = find(tmp_path)
    expected = ['a/1.png', 'b/1.gif', 'b/2.JFIF', 'b/3.avif', 'b/5.heic', 'b/IMG_4']
    assert sorted(named(found)) == expected
    assert found.notes == []
    assert usable(found, 'pixels')[0].counts('train') == [1, 5]


def test_what_is_passed_over_is_told_in_one_line(tmp_path):
    put(tmp_path, *(f'{split}/{c}/1.png' for split in ('train', 'val') for c in 'ab'))
    for name in ('train/a/1.heic', 'train/b/2.HEIC', 'train/b/3.heic', 'train/b/LICENSE'):
        (tmp_path / name).write_text('no image')
    for name in ('train/a/Thumbs.db', '.DS_Store', 'val/b/.DS_Store', 'labels.csv'):
        (tmp_path / name).write_text('')
    put(tmp_path, 'train/b/@eaDir/1.png', '__MACOSX/train/a/1.png', 'extra/1.png')
    (tmp_path / 'val/b/.ipynb_checkpoints').mkdir()
    os.mkfifo(tmp_path / 'train/a/pipe')  # which would be waited for
    found = find(tmp_path)
    assert found.counts('train') == found.counts('val') == [1, 1]
    assert found.notes == [
        f"Passed over in {tmp_path}: 'extra', 'labels.csv'; 3 .heic (b 2, a 1); 2 without an "
        "ending (a 1, b 1); left behind by systems and tools: '.DS_Store' (2 times), "
        "'.ipynb_checkpoints', '@eaDir', 'Thumbs.db', '__MACOSX'."
    ]


@pytest.mark.parametrize('unlabelled', ['val', 'test'])
def test_a_split_without_folders_of_classes_is_passed_over(tmp_path, unlabelled):
    """As Tiny-ImageNet has it."""
    put(tmp_path, 'train/n01/images/1.png', 'train/n02/images/1.png', 'train/n02/images/2.png')
    put(tmp_path, f'{unlabelled}/images/1.png', f'{unlabelled}/images/2.png')
    (tmp_path / unlabelled / 'annotations.txt').write_text('1.png n01')
    found = find(tmp_path)
    assert (found.classes, list(found.splits)) == (['n01', 'n02'], ['train'])
    assert found.counts('train') == [1, 2]
    assert any(f'{unlabelled} has no folders of classes' in note for note in found.notes)


def test_a_loose_image_makes_no_class_of_a_split(tmp_path):
    put(tmp_path, *(f'{split}/{c}/1.png' for split in ('train', 'val') for c in 'ab'))
    put(tmp_path, 'train/cover.png')
    found = find(tmp_path)
    assert (found.classes, list(found.splits)) == (['a', 'b'], ['train', 'val'])
    assert any('Passed over in train' in note and '1 image.' in note for note in found.notes)


# ------------------------------------------------------------------------------------------ lists
def test_a_table_with_names_splits_and_other_columns(tmp_path):
    put(tmp_path, '1.png', '2.png', '3.png', '4.png')
    (tmp_path / 'images.csv').write_text(
        '\ufeffid,Split,image,class\n'
        '1,train,1.png,katze\n2,Training,2.png,hund\n\n'
        '3,valid,3.png,hund\n4,TEST,4.png,katze\n'
    )
    found = find(tmp_path / 'images.csv')
    assert found.classes == ['hund', 'katze']
    assert found.splits == dict(
        train=[('1.png', 1), ('2.png', 0)], val=[('3.png', 0)], test=[('4.png', 1)]
    )
    (tmp_path / 'other.csv').write_text('datei,sorte\n1.png,a\n2.png,b\n')
    assert find(tmp_path / 'other.csv', ListOptions(('datei', 'sorte'))).classes == ['a', 'b']
    (tmp_path / 'bad.csv').write_text('path,label,split\n1.png,a,train\n2.png,b,later\n')
    with pytest.raises(BCE3SError, match=r"bad\.csv:3: the split 'later' is unknown"):
        find(tmp_path / 'bad.csv')


@pytest.mark.parametrize('kind', ['folders', 'txt', 'csv'])
def test_output_k_is_label_k(tmp_path, kind):
    put(tmp_path, *(f'{k}/{k}.png' if kind == 'folders' else f'x/{k}.png' for k in range(12)))
    if kind != 'folders':
        between = dict(txt=' ', csv=',')[kind]
        rows = [f'x/{k}.png{between}{k}\n' for k in range(12)]
        header = 'path,label\n' if kind == 'csv' else ''
        (tmp_path / f'train.{kind}').write_text(header + ''.join(rows))
    found = find(tmp_path)
    assert found.classes == [str(k) for k in range(12)]
    assert all(path.endswith(f'/{label}.png') for path, label in found.splits['train'])


def test_numbered_labels_are_called_like_the_folders_and_keep_their_numbers(tmp_path):
    put(tmp_path, 'zebra/1.png', 'ant/1.png', 'cow/1.png')
    (tmp_path / 'all.txt').write_text('zebra/1.png 0\nant/1.png 1\ncow/1.png 2\n')
    assert find(tmp_path / 'all.txt').classes == ['zebra', 'ant', 'cow']
    (tmp_path / 'all.txt').write_text('zebra/1.png 07\nant/1.png 1\ncow/1.png A\n')
    assert find(tmp_path / 'all.txt').classes == ['1', '07', 'A']


# --------------------------------------------------------------------- lists and where images are
@pytest.mark.parametrize('suffix', ['', '.png'])
@pytest.mark.parametrize('folder', ['train_images', 'data/train', 'Train'])
def test_a_table_beside_a_folder_of_images(tmp_path, folder, suffix):
    put(tmp_path, *(f'{folder}/{i}.png' for i in range(6)))
    rows = ''.join(f'{i}{"" if suffix else ".png"},{"ab"[i % 2]}\n' for i in range(6))
    (tmp_path / 'train.csv').write_text(f'image_id,label\n{rows}')
    (tmp_path / 'test.csv').write_text('image_id\n7\n')
    found = find(tmp_path)
    assert named(found)[f'{folder}/1.png'] == 'b'
    assert any(f"lie in '{folder}'" in note for note in found.notes)
    assert any(('end in' in note) == bool(suffix) for note in found.notes if 'lie in' in note)
    assert any('test.csv has no labels' in note for note in found.notes)
    assert found.splits == find(tmp_path, ListOptions(None, folder, suffix)).splits


def test_folders_of_the_same_ids(tmp_path):
    put(tmp_path, *(f'{folder}/{i}.png' for folder in ('a', 'b') for i in range(3)))
    (tmp_path / 'train.csv').write_text('id,label\n0,x\n1,y\n2,y\n')
    with pytest.raises(BCE3SError, match=r"may be 'a/0.png' and 'b/0.png': .*own_data.images="):
        find(tmp_path)
    assert 'b/0.png' in named(find(tmp_path, ListOptions(images='b')))
    os.rename(tmp_path / 'a', tmp_path / 'train_images')
    assert 'train_images/0.png' in named(find(tmp_path))


def test_a_list_of_windows(tmp_path):
    put(tmp_path, 'x/ä 1.png', 'y/2.png')
    text = 'Path,Label\r\nx\\ä 1.png,x\r\ny\\2.png,y\r\n'
    (tmp_path / 'win.csv').write_bytes(text.encode('utf-16'))
    found = find(tmp_path / 'win.csv')
    assert named(found) == {'x/ä 1.png': 'x', 'y/2.png': 'y'}
    assert any('back slashes of 2 lines' in note for note in found.notes)
    put(tmp_path, 'a\\b.png')  # a name with a back slash, where there may be one
    (tmp_path / 'win.csv').write_text('path,label\na\\b.png,x\ny/2.png,y\n')
    assert named(find(tmp_path / 'win.csv')) == {'a\\b.png': 'x', 'y/2.png': 'y'}


@pytest.mark.parametrize('splits', [False, True])
def test_metadata_beside_the_images(tmp_path, splits):
    for folder in ('train', 'validation') if splits else ('.',):
        put(tmp_path, f'{folder}/0.png', f'{folder}/1.png')
        (tmp_path / folder / 'metadata.csv').write_text('file_name,label\n0.png,b\n1.png,a\n')
    found = find(tmp_path)
    assert list(found.splits) == (['train', 'val'] if splits else ['train'])
    assert named(found)[f'{"train/" if splits else ""}0.png'] == 'b'


def test_none_of_the_images_is_there(tmp_path):
    (tmp_path / 'all.csv').write_text('path,label\nx/1.png,a\nx/2.png,b\n')
    with pytest.raises(BCE3SError, match=r"None of the 2 images .*'x/1.png'; paths are relative"):
        find(tmp_path / 'all.csv')


# -------------------------------------------------------------------------------------- bad input
def test_nothing_there(tmp_path):
    with pytest.raises(BCE3SError, match='there is no folder or list'):
        find(tmp_path / 'nowhere')
    with pytest.raises(BCE3SError, match=r'holds no image .*Expected PATH/CLASS/IMAGE'):
        find(tmp_path)
    put(tmp_path, '1.png', '2.png')
    with pytest.raises(BCE3SError, match=r'holds 2 images but no folders of classes'):
        find(tmp_path)
    (tmp_path / 'labels.csv').write_text('path,label\n')
    with pytest.raises(BCE3SError, match=r'data_root=.*labels\.csv'):
        find(tmp_path)
    with pytest.raises(BCE3SError, match='neither a folder nor a list'):
        find(tmp_path / '1.png')


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read everything')
def test_a_folder_that_may_not_be_read(tmp_path):
    put(tmp_path, 'a/1.png', 'b/1.png')
    (tmp_path / 'b').chmod(0)
    with pytest.raises(BCE3SError, match='cannot be listed'):
        find(tmp_path)


# ----------------------------------------------------------------------------------- broken images
def test_broken_images_are_left_out_and_named(tmp_path):
    put(tmp_path, *(f'{c}/{i}.png' for c in 'abc' for i in range(3)))
    (tmp_path / 'a/0.png').write_bytes(b'')
    (tmp_path / 'b/1.png').write_bytes(b'no image')
    content = (tmp_path / 'b/2.png').read_bytes()
    (tmp_path / 'b/2.png').write_bytes(content[: len(content) // 2])
    for i in range(3):
        (tmp_path / f'c/{i}.png').write_bytes(b'')
    rest, marks = usable(find(tmp_path))
    assert rest.classes == ['a', 'b']
    assert rest.splits['train'] == [('a/1.png', 0), ('a/2.png', 0), ('b/0.png', 1)]
    assert len(set(marks['train'].tolist())) == 3
    notes = ' '.join(rest.notes)
    assert '6 images of train cannot be used' in notes
    assert 'a/0.png is empty' in notes
    assert 'left out: c.' in notes


def test_nothing_but_broken_images(tmp_path):
    put(tmp_path, 'a/1.png')
    (tmp_path / 'b').mkdir()
    (tmp_path / 'b/1.png').write_bytes(b'')
    with pytest.raises(BCE3SError, match='only 1 of 2 classes have a training image'):
        usable(find(tmp_path))


def test_a_listed_image_that_is_not_there(tmp_path):
    put(tmp_path, '1.png', '2.png')
    (tmp_path / 'x.csv').write_text('path,label\n1.png,a\n2.png,b\n3.png,b\n')
    rest, _ = usable(find(tmp_path / 'x.csv'))
    assert rest.counts('train') == [1, 1]
    assert any('3.png is missing' in note for note in rest.notes)


# ------------------------------------------------------------------------- written down, and back
def test_written_paths_are_read_back_as_they_are(tmp_path):
    put(tmp_path, ' a/ 1.png', 'b/1.png', 'b\\c/1.png', '"d" , e/1.png')
    found = find(tmp_path)
    write_splits(tmp_path / 'data', found, Facts(4, 1, 4, 8, 'cpu'))
    again, _ = read_splits(tmp_path / 'data')
    assert (again.splits, again.classes) == (found.splits, found.classes)


def test_a_split_that_is_made_stands_between_the_others(tmp_path):
    put(tmp_path, *(f'{s}/{c}/{i}.png' for s in ('test', 'train') for c in 'ab' for i in range(3)))
    assert list(hold_out(find(tmp_path)).splits) == ['train', 'val', 'test']


@pytest.mark.parametrize('above', ['', 'train/'])
def test_a_table_of_other_things_leaves_the_folders_their_names(tmp_path, above):
    put(tmp_path, f'{above}a/1.png', f'{above}b/1.png')
    (tmp_path / above / 'metadata.csv').write_text('file_name,note\na/1.png,x\n')
    assert find(tmp_path).classes == ['a', 'b']


@pytest.mark.parametrize(
    'names', ['train_set val_set test_set', 'Training-Data validation_images testset']
)
def test_splits_that_are_called_otherwise(tmp_path, names):
    put(tmp_path, *(f'{name}/{c}/1.png' for name in names.split() for c in 'ab'))
    found = find(tmp_path)
    assert (found.classes, list(found.splits)) == (['a', 'b'], ['train', 'val', 'test'])


def test_numbers_as_labels_are_told_to_be_folders(tmp_path):
    put(tmp_path, 'ant/1.png', 'bee/1.png', 'bee/2.png')
    (tmp_path / 'train.csv').write_text('path,label\nbee/1.png,0\nbee/2.png,0\nant/1.png,1\n')
    found = find(tmp_path)
    assert found.classes == ['bee', 'ant']
    assert any('train.csv are numbers' in note and "(0: 'bee')" in note for note in found.notes)


@pytest.mark.parametrize('upper', ['', 'photos/'])
def test_later_images_may_be_splits_without_training_images(tmp_path, upper):
    put(tmp_path, *(f'{upper}{image}' for image in ('val/a/1.png', 'test_set/b/1.png')))
    found = find(tmp_path, later=True)
    assert (found.classes, list(found.splits)) == (['a', 'b'], ['val', 'test'])
    put(tmp_path, f'{upper}c/1.png')  # so that they are classes
    assert find(tmp_path, later=True).classes == ['c', 'test_set', 'val']


def test_splits_that_hold_a_folder_of_their_own_name(tmp_path):
    put(tmp_path, *(f'{s}_set/{s}_set/{c}/1.png' for s in ('training', 'test') for c in 'ab'))
    found = find(tmp_path)
    assert (found.classes, list(found.splits)) == (['a', 'b'], ['train', 'test'])
    assert found.splits['test'][0] == ('test_set/test_set/a/1.png', 0)
    assert found.notes == []


@pytest.mark.parametrize(
    'beside', ['TrainImages.txt', 'train_data.csv', 'train_images/1.png', 'train_set/a/1.png']
)
def test_what_only_resembles_a_split_is_passed_over(tmp_path, beside):
    put(tmp_path, *(f'{split}/{c}/1.png' for split in ('train', 'test') for c in 'ab'))
    if '/' in beside:
        put(tmp_path, beside)
    else:
        (tmp_path / beside).write_text('train/a/1.png\n')
    found = find(tmp_path)
    assert found.splits['train'] == [('train/a/1.png', 0), ('train/b/1.png', 1)]
    assert any(beside.partition('/')[0] in note for note in found.notes)
