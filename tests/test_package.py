"""The package as it is installed: what it asks for, and that it works outside the checkout."""

import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest
from PIL import Image

from bce3s.__main__ import COMMANDS, main
from bce3s.packaged import config_file

ROOT = Path(__file__).parents[1]


def test_the_requirements_are_those_of_the_package_and_its_extras_but_the_demo():
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    extras = project['optional-dependencies']
    assert extras.pop('demo')  # large, and needed by nothing else
    extras = [line for extra in extras.values() for line in extra]
    asked = (ROOT / 'requirements.txt').read_text().replace('"', "'").splitlines()
    assert sorted(asked) == sorted(project['dependencies'] + extras)


def test_the_commands_are_listed_and_others_are_refused(capsys):
    assert main([]) == 0
    assert set(re.findall(r'^  ([\w-]+)', capsys.readouterr().out, re.M)) == set(COMMANDS)
    assert main(['trian']) == 2
    assert "no command 'trian'" in capsys.readouterr().err


def test_a_config_of_the_package_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('configs/bce3s/digits.py', 'bce3s/digits.py'):
        assert Path(config_file(name)) == ROOT / 'configs/bce3s/digits.py'
    Path('bce3s').mkdir()
    Path('bce3s/digits.py').touch()
    assert config_file('bce3s/digits.py') == 'bce3s/digits.py'  # one's own comes first
    assert config_file('bce3s/no_such.py') == 'bce3s/no_such.py'


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """The ``bce3s`` command of a new environment with the wheel in it, and of this environment
    what the wheel asks for.
    """
    folder = tmp_path_factory.mktemp('environment')
    pip = [sys.executable, '-m', 'pip', '--quiet']
    subprocess.run([*pip, 'wheel', '--no-deps', '-w', folder, ROOT], check=True)
    venv.create(folder / 'env', symlinks=True)
    python = folder / 'env/bin/python'
    code = 'import sysconfig; print(sysconfig.get_path("purelib"))'
    done = subprocess.run([python, '-c', code], check=True, capture_output=True, text=True)
    Path(done.stdout.strip(), 'rest.pth').write_text(sysconfig.get_path('purelib') + '\n')
    (wheel,) = folder.glob('*.whl')
    subprocess.run([*pip, '--python', python, 'install', '--no-deps', wheel], check=True)
    return folder / 'env/bin/bce3s'


@pytest.mark.slow
def test_the_wheel_trains_digits_in_another_folder(installed, tmp_path):
    options = ['train_cfg.max_epochs=2', 'train_cfg.finetune_epochs=1']
    command = [installed, 'train', 'configs/bce3s/digits.py', '--cfg-options', *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'work_dirs/digits/report.md').is_file()


@pytest.mark.slow
def test_the_wheel_trains_on_a_folder_of_images_and_labels_others(installed, tmp_path):
    for name, colour in (('ant', (200, 60, 60)), ('bee', (60, 200, 60))):
        (tmp_path / 'pictures' / name).mkdir(parents=True)
        for i in range(12):
            image = Image.new('RGB', (32, 32), tuple(c + i for c in colour))
            image.save(tmp_path / f'pictures/{name}/{i}.png')
    options = ['--cfg-options', 'own_data.epochs=2', 'own_data.size=32']
    for command in (
        ['train', 'pictures', *options],
        ['predict', 'work_dirs/pictures', 'pictures/ant', '--out', 'labels.csv'],
    ):
        done = subprocess.run([installed, *command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert len((tmp_path / 'labels.csv').read_text().splitlines()) == 13  # and the header
