"""``tools/predict.py``: what it prints and writes, what it keeps, and its sentences."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from trained_runs import set_rejection

from bce3s.errors import BCE3SError
from bce3s.inference import predict_command, predictor, writing
from bce3s.inference.found_images import find_images
from bce3s.inference.predictor import Predictor

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def run(trained, tmp_path_factory):
    folder = Path(shutil.copytree(trained, tmp_path_factory.mktemp('run') / 'run'))
    set_rejection(folder, 0.0)
    return folder


@pytest.fixture(scope='module')
def digits(run, tmp_path_factory):
    """40 images in two folders, and one that is none."""
    root = tmp_path_factory.mktemp('digits')
    for folder in ('a', 'b/c'):
        (root / folder).mkdir(parents=True)
    images = Predictor(run).run.dataset('val').images[:40, 0].numpy()
    for i, image in enumerate(images):
        Image.fromarray(image).save(root / ('a' if i < 30 else 'b/c') / f'{i:02d}.png')
    (root / 'a/notes.md').write_text('not an image')
    return root


def paths_in(root):
    return [str(path) for path in sorted(root.rglob('*.png'))]


def call(capsys, *arguments):
    """Exit status, standard output, standard error."""
    status = predict_command.main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def rows(path):
    with path.open(newline='') as file:
        return list(csv.DictReader(file))


# ------------------------------------------------------------ what is written
def test_csv_has_the_predictions(run, digits, tmp_path, capsys):
    out = tmp_path / 'made/predictions.csv'
    status, _, err = call(capsys, run, digits, '--out', out, '--top', 3, '--workers', 2)
    assert (status, err) == (0, f'note: Passed over in {digits}: 1 .md (a).\n')
    expected = Predictor(run, top=3)(paths_in(digits))
    assert 0 < sum(prediction.known for prediction in expected) < 40
    for row, prediction in zip(rows(out), expected, strict=True):
        assert row['image'] == prediction.image
        assert row['label'] == (prediction.label if prediction.known else 'none of these')
        assert row['known'] == str(int(prediction.known))
        assert (row['best'], row['split']) == (prediction.best, prediction.split)
        assert float(row['score']) == pytest.approx(prediction.score, rel=1e-4)
        assert float(row['logit']) == pytest.approx(prediction.logit, rel=1e-4, abs=1e-4)
        assert (row['class_3'], row['error']) == (prediction.top[2][0], '')
        assert float(row['score_3']) == pytest.approx(prediction.top[2][1], rel=1e-4)


def test_a_page_has_the_pictures(run, digits, tmp_path, capsys):
    page = tmp_path / 'made/page.html'
    status, out, _ = call(capsys, run, digits, tmp_path / 'lost.png', '--page', page)
    assert status == 1  # lost.png is not there
    assert not page.exists()
    (tmp_path / 'lost.png').write_bytes(b'no image')
    status, out, _ = call(capsys, run, digits, tmp_path / 'lost.png', '--page', page)
    assert status == 1
    text = page.read_text()
    named = re.findall(r'<li title="([^"]+)"><img src="data:image/png', text)
    assert len(set(named)) == len(named)
    assert {path.removeprefix(f'{digits}/') for path in paths_in(digits)} >= set(named)
    assert out.endswith(f'{len(named)} pictures of 41 images\n')
    assert '1 that cannot be read' in text
    assert 'lost.png' in text
    assert str(digits) not in text
    status, out, err = call(capsys, run, digits, '--page', tmp_path / 'page.pdf')
    assert (status, out) == (1, '')
    assert '--page' in err


def test_where_only_the_parent_is_sure_it_is_the_answer(run, digits, tmp_path, capsys):
    run = Path(shutil.copytree(run, tmp_path / 'run'))
    table = [f'{k},{"odd" if k % 2 else "even"}' for k in range(10)]
    (run / 'parents.csv').write_text('\n'.join(['class,parent', *table]))
    out, page = tmp_path / 'out.csv', tmp_path / 'page.html'
    status, said, _ = call(capsys, run, digits, '--threshold', 0.5, '--out', out, '--page', page)
    assert status == 0
    broad = [row for row in rows(out) if row['known'] == '1' and row['label'] != row['best']]
    assert broad
    for row in broad:
        assert row['label'] in ('odd', 'even')
        assert float(row['logit']) <= 0.5 < float(row['compared'])
    counts = {line.split()[0]: line.split()[2] for line in said.splitlines() if ' parent ' in line}
    assert sum(map(int, counts.values())) == len(broad)
    assert f'{len(broad)} of which only the parent is sure' in page.read_text()


def test_json_lines_have_the_predictions(run, digits, tmp_path, capsys):
    out = tmp_path / 'predictions.jsonl'
    out.write_text('older')
    status, printed, _ = call(capsys, run, digits, '--out', out, '--threshold', 'none')
    assert status == 0
    expected = Predictor(run, threshold=None)(paths_in(digits))
    for row, prediction in zip(lines(out), expected, strict=True):
        assert row.keys() == vars(prediction).keys()
        assert (row['image'], row['label'], row['known']) == (prediction.image, row['best'], True)
        assert [name for name, _ in row['top']] == [name for name, _ in prediction.top]
    assert 'No image is rejected' in printed


def test_names_that_are_no_text(run, digits, tmp_path, capsys):
    name = tmp_path / 'images' / b'caf\xe9,"x"\n.png'.decode(errors='surrogateescape')
    name.parent.mkdir()
    shutil.copy(paths_in(digits)[0], name)
    for out in (tmp_path / 'o.csv', tmp_path / 'o.jsonl'):
        status, printed, _ = call(capsys, run, name.parent, '--out', out)
        assert status == 0
        assert 'caf\\udce9' in printed
    with (tmp_path / 'o.csv').open(newline='', errors='surrogateescape') as file:
        assert next(csv.DictReader(file))['image'] == str(name)
    assert lines(tmp_path / 'o.jsonl')[0]['image'] == str(name)


# ------------------------------------------------------------ what is printed
def test_few_images_have_a_row_each(run, digits, capsys):
    paths = paths_in(digits)[:12]
    status, printed, _ = call(capsys, run, *paths)
    head, rule, *table = printed.splitlines()[:14]
    assert status == 0
    assert head.split() == ['image', 'label', 'score', 'split', 'next']
    assert set(rule) == {'-'}
    for line, p in zip(table, Predictor(run)(paths), strict=True):
        label = p.label if p.known else f'none of these (nearest: {p.best})'
        assert Path(p.image).name in line
        assert f'  {label}  ' in line
        assert f'{p.score:.3f}  {p.split}' in line
        assert len({line.index(f'{p.score:.3f}'), head.index('score')}) == 1  # aligned
    assert 'to reject at most 5 % of known images; of new ones it will be 0.6 to 13.1 %' in printed
    printed = call(capsys, run, *paths, '--threshold', 'uniform')[1]
    assert 'uniform threshold, chosen on the test data, where it rejects 12.5 %' in printed


def test_many_images_are_counted(run, digits, capsys, monkeypatch):
    monkeypatch.setattr(writing, 'MOST_CLASSES', 2)
    status, printed, _ = call(capsys, run, digits)
    found = Predictor(run)(paths_in(digits))
    table = dict(line.rsplit(None, 2)[:2] for line in printed.split('\n\n')[0].splitlines()[2:])
    assert status == 0
    assert table.pop('none of these') == str(sum(not p.known for p in found))
    assert table.pop('all') == '40'
    known = [p.label for p in found if p.known]
    common = sorted({known.count(label) for label in known}, reverse=True)
    assert int(next(iter(table.values()))) == common[0]
    counted = sum(map(int, table.values()))
    assert counted == len(known)


def test_a_share_of_the_known_images_is_kept(run, digits, capsys):
    status, printed, _ = call(capsys, run, digits, '--threshold', 'keep=99')
    assert status == 0
    assert 'chosen on the test images to keep 99 % of known images' in printed
    line = next(line for line in printed.splitlines() if 'none of these' in line)
    assert int(line.split()[-2]) <= 0.01 * 500  # of all test images; these are 40 of them


# ------------------------------------------------------------ partial results
def test_unreadable_images_do_not_stop_the_others(run, digits, tmp_path, capsys):
    for i, path in enumerate(paths_in(digits)[:5]):
        shutil.copy(path, tmp_path / f'{i}.png')
    (tmp_path / '1.png').write_bytes(b'')
    (tmp_path / '3.png').write_text('no image')
    out = tmp_path / 'o.csv'
    status, printed, err = call(capsys, run, tmp_path, '--out', out, '--batch-size', 2)
    assert status == 1
    assert '2 of 5 images cannot be read' in err
    assert f'{out} says why of each' in err
    assert printed.count('cannot be read') == 2
    found = rows(out)
    assert [bool(row['error']) for row in found] == [False, True, False, True, False]
    assert 'the file is empty' in found[1]['error']
    assert [row['label'] for row in found if row['error']] == ['', '']
    for only in ('1.png', '3.png'):
        status, _, err = call(capsys, run, tmp_path / only)
        assert status == 1
        assert '1 of 1 image cannot be read. The first:' in err


@pytest.mark.parametrize('kind', ['csv', 'jsonl'])
@pytest.mark.parametrize('stop', [KeyboardInterrupt(), BCE3SError('The memory is full.')])
def test_an_interruption_keeps_what_is_done(run, digits, tmp_path, capsys, monkeypatch, kind, stop):
    outputs, calls = Predictor.outputs, []

    def third_fails(self, images):
        calls.append(len(images))
        if len(calls) == 3:
            raise stop
        return outputs(self, images)

    monkeypatch.setattr(predictor.Predictor, 'outputs', third_fails)
    out = tmp_path / f'o.{kind}'
    status, printed, err = call(capsys, run, digits, '--out', out, '--batch-size', 8)
    interrupted = isinstance(stop, KeyboardInterrupt)
    assert status == (130 if interrupted else 1)
    assert (f'What is done is in {out}' if interrupted else 'The memory is full.') in err
    assert printed == ''
    found = lines(out) if kind == 'jsonl' else rows(out)
    assert [row['image'] for row in found] == paths_in(digits)[:16]


def test_an_older_file_stays_until_there_is_something_new(run, digits, tmp_path, capsys):
    old, new = tmp_path / 'old.csv', tmp_path / 'new.csv'
    old.write_text('older')
    for out in (old, new):
        status, _, err = call(capsys, run, digits, '--out', out, '--device', 'abacus')
        assert (status, 'abacus' in err) == (1, True)
    assert old.read_text() == 'older'
    assert not new.exists()


# ------------------------------------------------------------ sentences
def test_what_cannot_be_used(run, digits, tmp_path, capsys, monkeypatch):
    (tmp_path / 'empty/in').mkdir(parents=True)
    (tmp_path / 'empty/in/x.doc').touch()
    (tmp_path / 'empty.txt').touch()
    (tmp_path / 'file').touch()
    image = paths_in(digits)[0]
    cases = [
        ([run, tmp_path / 'empty'], '; it has 1 .doc (in).'),
        ([run, image, tmp_path / 'nowhere'], 'nowhere is not there'),
        ([run, tmp_path / 'empty.txt'], 'names no image'),
        ([run, image, '--out', tmp_path / 'o.txt'], 'must end in .csv or .jsonl'),
        ([run, image, '--out', tmp_path / 'file/o.csv'], 'cannot be written to ('),
        ([run, image, '--checkpoint', 'epoch_9.pth'], 'epoch_9.pth does not exist'),
        ([tmp_path / 'nowhere', image], 'is no work dir of a run'),
        ([tmp_path, image], 'holds no config'),
    ]
    (tmp_path / 'o.csv').mkdir()
    cases.append(([run, image, '--out', tmp_path / 'o.csv'], 'is no regular file'))

    def fail(*_, **__):
        raise AssertionError('the model is loaded')

    monkeypatch.setattr(predict_command, '_predictor', fail)  # all this is found before
    for arguments, said in cases:
        status, printed, err = call(capsys, *arguments)
        assert (status, printed) == (1, '')
        *notes, error = err.splitlines()  # what was passed over is told before
        assert error.startswith('error: ')
        assert said in error
        assert all(note.startswith('note: Passed over') for note in notes)


def test_runs_that_cannot_be_used(run, digits, tmp_path, capsys):
    image = paths_in(digits)[0]
    copied = Path(shutil.copytree(run, tmp_path / 'run'))
    (copied / 'report.json').unlink()
    assert 'no report.json' in call(capsys, copied, image)[2]
    assert call(capsys, copied, image, '--threshold', '-2')[0] == 0
    assert call(capsys, copied, image, '--threshold', '-1000')[0] == 0
    config = next(copied.glob('*.py'))
    config.write_text(config.read_text().replace('depth=8', 'depth=14'))
    status, _, err = call(capsys, copied, image, '--threshold', 'none')
    assert (status, 'another architecture' in err) == (1, True)
    for path in copied.glob('*.pth'):
        path.unlink()
    assert 'no valid checkpoint' in call(capsys, copied, image)[2]


@pytest.mark.parametrize(
    'arguments',
    [
        'run',
        'run x --threshold high',
        'run x --threshold nan',
        'run x --threshold keep=101',
        'run x --top 0',
        'run x --workers -1',
    ],
)
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        predict_command.main(arguments.split())
    assert stop.value.code == 2
    assert 'predict: error:' in capsys.readouterr().err


def test_the_threshold_of_another_epoch_is_noted(run, digits, tmp_path, capsys):
    copied = Path(shutil.copytree(run, tmp_path / 'run'))
    set_rejection(copied, 0.0, epoch=1)
    status, _, err = call(capsys, copied, paths_in(digits)[0])
    assert status == 0
    assert err.startswith('note: The threshold')


# ------------------------------------------------------------ whole
def test_a_list_is_not_replaced_by_its_predictions(run, digits, tmp_path, capsys):
    path = tmp_path / 'list.csv'
    path.write_text(f'path\n{paths_in(digits)[0]}\n')
    status, _, err = call(capsys, run, path, '--out', path)
    assert (status, 'would replace what is to be read' in err) == (1, True)
    assert call(capsys, run, path, '--out', tmp_path / 'o.csv')[0] == 0
    assert find_images([tmp_path / 'o.csv']) == [paths_in(digits)[0]]  # a list in turn


def test_the_images_of_a_run_on_a_folder(trained_folder, pictures, tmp_path, capsys):
    root, trained = pictures, Path(shutil.copytree(trained_folder, tmp_path / 'run'))
    set_rejection(trained, -100.0)
    (trained / 'val.csv').write_text('path,label\nval/ant/0.png,ant\nval/cat/2.jpg,cat\n')
    status, printed, _ = call(capsys, trained, trained / 'val.csv', root / 'val/bee')
    assert status == 0
    names = ('ant/0.png', 'cat/2.jpg', 'bee/0.png', 'bee/1.jpg', 'bee/2.jpg', 'bee/3.png')
    for line, name in zip(printed.splitlines()[2:8], names, strict=True):
        assert line.split()[0].endswith(name)
    assert 'softmax of the logits' in printed


def test_as_a_process(run, digits, tmp_path):
    """Through tools/predict.py, with processes that read, the output piped."""
    command = [sys.executable, str(ROOT / 'tools/predict.py'), str(run), str(digits)]
    command += ['--batch-size', '8', '--workers', '1', '--out', 'o.jsonl']
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, f'note: Passed over in {digits}: 1 .md (a).\n')
    assert done.stdout.rstrip().endswith('o.jsonl: 40 rows')
    assert len(lines(tmp_path / 'o.jsonl')) == 40
