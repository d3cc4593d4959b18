"""One run of two processes that nothing disturbs."""

import pytest
from launching import SHORT, train


@pytest.fixture(scope='session')
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp('two processes')
    train(folder, *SHORT)
    return folder
