"""Runs of two epochs, trained once for all tests of this folder."""

import shutil
from pathlib import Path

import pytest
from trained_runs import digits_run, folder_run, set_rejection, write_pictures


@pytest.fixture(scope='session')
def trained(tmp_path_factory):
    """A BCE run on digits, as it was left."""
    return digits_run(tmp_path_factory.mktemp('trained') / 'digits')


@pytest.fixture(scope='module')
def digits(trained, tmp_path_factory):
    """It, with a threshold of 0.5."""
    run = Path(shutil.copytree(trained, tmp_path_factory.mktemp('digits') / 'run'))
    set_rejection(run)
    return run


@pytest.fixture
def copied(digits, tmp_path):
    """A run to be changed."""
    return Path(shutil.copytree(digits, tmp_path / 'run', ignore=lambda *_: ['export']))


@pytest.fixture(scope='session')
def pictures(tmp_path_factory):
    """Images of three classes, of many kinds."""
    return write_pictures(tmp_path_factory.mktemp('pictures'))


@pytest.fixture(scope='session')
def trained_folder(tmp_path_factory, pictures):
    """A CE run on them, as it was left."""
    return folder_run(tmp_path_factory.mktemp('trained') / 'folder', pictures)
