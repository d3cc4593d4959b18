"""A long-tailed folder of pictures, from CIFAR-100 where it is there."""

import numpy as np
import pytest
from PIL import Image

from bce3s.datasets.in_memory import CIFAR100LT
from bce3s.errors import BCE3SError
from long_tailed_folder import main


def test_the_folder_has_what_it_says(data_root, tmp_path, capsys):
    try:
        whole = CIFAR100LT(
            data_root, train=True, imbalance='none', imbalance_factor=None, verify=False
        )
    except BCE3SError as error:
        pytest.skip(f'CIFAR-100 is not there: {error}')
    out, unknown = tmp_path / 'pictures', tmp_path / 'others'
    sizes = ['--classes', '4', '--most', '9', '--least', '1', '--test', '2']
    call = ['--out', str(out), '--unknown', str(unknown), '--data-root', str(data_root)]
    assert main([*call, '--any-copy', *sizes]) == 0
    train = {folder.name: sorted(folder.iterdir()) for folder in (out / 'train').iterdir()}
    names = [whole.classes[k] for k in (0, 25, 50, 75)]
    assert [len(train[name]) for name in names] == [9, 4, 2, 1]
    first = whole.images[whole.labels == 25][3].permute(1, 2, 0).numpy()
    assert np.array_equal(np.asarray(Image.open(train[names[1]][3])), first)  # lossless
    assert {folder.name for folder in unknown.iterdir()} == {
        whole.classes[k] for k in (1, 26, 51, 76)
    }
    assert len(list((out / 'test').rglob('*.png'))) == 8
    assert main([*call, '--any-copy', *sizes]) == 1
    assert 'is not empty' in capsys.readouterr().err


@pytest.mark.parametrize(
    'options',
    [
        ['--classes', '51'],
        ['--classes', '1'],
        ['--most', '501'],
        ['--least', '0'],
        ['--test', '101'],
    ],
)
def test_numbers_that_it_cannot_have(options, tmp_path, capsys):
    assert main(['--out', str(tmp_path / 'x'), *options]) == 1
    assert options[0] in capsys.readouterr().err
