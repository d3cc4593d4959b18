"""``tools/report.py`` on a run that was trained here, and on folders that are none."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from page_cases import write_run
from trained_runs import train

from bce3s.config import load_config
from bce3s.errors import BCE3SError
from bce3s.page import page
from bce3s.page.command import main, markdown_path, output_path

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Two epochs on eight of the ten digits."""
    cfg = load_config(str(ROOT / 'configs/baselines/digits_bce.py'), [])
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.keep_classes = list(range(8))
    cfg.model.head.num_classes = 8
    return train(cfg, tmp_path_factory.mktemp('trained') / 'eight')


@pytest.fixture
def run(trained, tmp_path):
    """A run to be changed."""
    return shutil.copytree(trained, tmp_path / 'eight')


@pytest.fixture
def few_sections(monkeypatch):
    """Without the slow sections, which have tests of their own."""
    kept = ('summary', 'class_table', 'gallery', 'confusion', 'open_set_curves', 'provenance')
    sections = tuple(s for s in page.SECTIONS if s[0].__name__ in kept)
    monkeypatch.setattr(page, 'SECTIONS', sections)


# ----------------------------------------------------------------------------------------- one page
@pytest.mark.usefixtures('few_sections')
def test_a_run_becomes_a_page_and_keeps_its_own_report(run, capsys):
    own = {name: (run / name).read_bytes() for name in ('report.md', 'report.json')}
    assert main([str(run), '--unknown', 'held-out']) == 0
    said = capsys.readouterr()
    text = (run / 'report.html').read_text()
    assert said.out.splitlines()[0].startswith(f'{run / "report.html"} (0.')
    assert said.out.splitlines()[1].startswith(f'{run / "report_page.md"} (0.')
    lines = said.err.splitlines()  # no line a section: what takes long, and what is missing
    assert [line.startswith('note: eight: ') for line in lines] == [False, False, True]
    for key in ('summary', 'classes', 'pictures', 'confusion', 'provenance'):
        assert f'<section id="{key}"' in text
    assert 'open-set' in text.lower()
    assert 'Open-set curves need' not in text
    assert text.count('src="data:image/png') > 20  # digits, in memory, known and unknown
    assert 'Unknown, but accepted' in text
    assert (run / 'report_page.md').read_text().startswith('# eight\n')
    assert {name: (run / name).read_bytes() for name in own} == own
    again = (run / 'report.html').read_bytes()
    assert main([str(run), '--unknown', 'held-out']) == 0
    assert (run / 'report.html').read_bytes() == again


@pytest.mark.usefixtures('few_sections')
def test_without_its_data_and_checkpoints_the_report_is_shown(run):
    for path in (*run.glob('*.pth'), run / 'last_checkpoint'):
        path.unlink(missing_ok=True)
    shutil.rmtree(run / 'outputs', ignore_errors=True)
    assert main([str(run)]) == 0
    text = (run / 'report.html').read_text()
    assert 'holds no valid checkpoint' in text
    assert '<section id="confusion"' not in text
    assert '<section id="summary"' in text


@pytest.mark.usefixtures('few_sections')
def test_outputs_of_another_epoch_than_the_report_are_named(run):
    path = run / 'report.json'
    report = json.loads(path.read_text())
    path.write_text(json.dumps({**report, 'accuracy': report['accuracy'] + 3}))
    assert main([str(run)]) == 0
    assert 'are of epoch_2.pth' in (run / 'report.html').read_text()


# --------------------------------------------------------------------------------------- what fails
@pytest.mark.usefixtures('few_sections')
def test_a_run_without_a_report_is_said_and_the_others_are_shown(tmp_path, capsys):
    good = write_run(tmp_path / 'good')
    (tmp_path / 'bad').mkdir()
    assert main([str(tmp_path / 'bad'), str(good)]) == 1
    assert 'error: ' in capsys.readouterr().err
    assert '<title>good</title>' in (tmp_path / 'comparison.html').read_text()
    assert (tmp_path / 'comparison.md').exists()


def test_no_run_with_a_report_writes_nothing(tmp_path, capsys):
    (tmp_path / 'bad').mkdir()
    assert main([str(tmp_path / 'bad')]) == 1
    error = capsys.readouterr().err
    assert 'has no report.json' in error
    assert 'nothing to show' in error
    assert not list(tmp_path.glob('**/*.html'))
    assert main([str(tmp_path / 'none')]) == 1
    assert not (tmp_path / 'none').exists()


@pytest.mark.usefixtures('few_sections')
@pytest.mark.parametrize(
    ('unknown', 'said'),
    [
        ('digits', 'the model knows 8 of its 10 classes'),
        ('missing.py', 'missing.py'),
        ('held-out --unknown-options colour=red', 'colour'),
    ],
)
def test_unknown_images_that_cannot_be_had_are_said(run, unknown, said, capsys):
    assert main([str(run), '--unknown', *unknown.split()]) == 1
    error = capsys.readouterr().err.split('error: ')
    assert len(error) == 2
    assert said in error[1]
    assert '<section id="confusion"' in (run / 'report.html').read_text()


@pytest.mark.parametrize('out', ['page.txt', 'file/page.html', 'folder/'])
def test_a_path_that_cannot_be_written_is_said_before_the_work(tmp_path, out, capsys):
    run = write_run(tmp_path / 'run')
    (tmp_path / 'file').write_text('')
    (tmp_path / 'folder' / 'report.html').mkdir(parents=True)
    assert main([str(run), '--out', str(tmp_path / out)]) == 1
    said = capsys.readouterr()
    assert said.err.count('\n') == 1
    assert said.err.startswith('error: ')
    assert '--out' in said.err
    assert not said.out


# -------------------------------------------------------------------------------------------- paths
def test_where_the_page_goes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert output_path(None, ['a/b']) == Path('a/b/report.html')
    assert output_path(None, ['a/b', 'a/c']) == Path('a/comparison.html')
    assert output_path(None, ['a/b', 'a/b/']) == Path('a/b/report.html')
    assert output_path(None, ['a/b', 'd/c']) == Path('comparison.html')
    assert output_path(str(tmp_path), ['a', 'b']) == tmp_path / 'comparison.html'
    assert output_path('x.html', ['a']) == Path('x.html')
    with pytest.raises(BCE3SError, match='give a file NAME'):
        output_path('x.pdf', ['a'])
    assert markdown_path(Path('a/report.html')) == Path('a/report_page.md')
    assert markdown_path(Path('a/x.html')) == Path('a/x.md')


def test_help_is_quick_and_a_wrong_argument_is_2():
    tool = [sys.executable, str(ROOT / 'tools' / 'report.py')]
    done = subprocess.run([*tool, '--help'], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0
    assert '--unknown' in done.stdout
    assert subprocess.run(tool, capture_output=True, timeout=600).returncode == 2
    code = (
        'import sys; sys.path.insert(0, "."); import bce3s.page.command as c; c.parser();'
        'sys.exit(any(m in sys.modules for m in ("torch", "matplotlib", "mmengine")))'
    )
    assert subprocess.run([sys.executable, '-c', code], cwd=ROOT, timeout=600).returncode == 0
