"""Downloads, from a server on this machine: what arrives, what fails, what is left behind."""

import gzip

import pytest
import torch
from local_server import server as server
from tiny_files import IDX, TinyMNIST, md5, put, tar, tiny

from bce3s.datasets import download
from bce3s.errors import BCE3SError


@pytest.fixture(autouse=True)
def _quick_and_direct(monkeypatch):
    monkeypatch.setattr(download, 'TIMEOUT', (2, 0.3))
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    monkeypatch.delenv('LOCAL_RANK', raising=False)


def test_download_once(tmp_path, server):
    content = tar('tiny-py', extra=[('../escaped', b'x'), ('tiny-py/readme', b'x')])
    server.files['/tiny-py.tar.gz'] = content
    cls = tiny(f'{server.url}/tiny-py.tar.gz', md5(content))
    train = cls(imbalance_factor=3, data_root=str(tmp_path / 'data'))
    cls(split='test', imbalance_factor=3, data_root=str(tmp_path / 'data'))
    assert server.asked == ['/tiny-py.tar.gz']
    assert torch.bincount(train.labels).tolist() == train.metainfo['class_counts']
    found = sorted(p.name for p in tmp_path.rglob('*') if p.is_file())
    assert found == ['data_1', 'data_2', 'test', 'tiny-py.tar.gz']


def test_archive_put_there_by_hand(tmp_path):
    content = tar('tiny-py')
    (tmp_path / 'tiny-py.tar.gz').write_bytes(content)
    cls = tiny(archive_md5=md5(content))
    assert len(cls(split='test', data_root=str(tmp_path), download=False, imbalance_factor=1)) == 20


def test_archive_with_another_checksum(tmp_path):
    (tmp_path / 'tiny-py.tar.gz').write_bytes(tar('tiny-py'))
    cls = tiny(archive_md5='0' * 32)
    with pytest.raises(BCE3SError, match=r'tiny-py\.tar\.gz: MD5 \w+, published is 0{32}'):
        cls(imbalance_factor=3, data_root=str(tmp_path))
    assert not (tmp_path / 'tiny-py').exists()
    assert len(cls(split='test', imbalance_factor=3, data_root=str(tmp_path), verify=False)) == 20


@pytest.mark.parametrize('keep', [0, 5000, 50_000])
def test_truncated_archive(tmp_path, keep):
    (tmp_path / 'tiny-py.tar.gz').write_bytes(tar('tiny-py')[:keep])
    for _ in range(2):  # what was unpacked of it must not satisfy the second attempt
        with pytest.raises(BCE3SError, match=r'tiny-py\.tar\.gz cannot be unpacked'):
            tiny()(imbalance_factor=3, data_root=str(tmp_path), verify=False)
    assert not list(tmp_path.rglob('*.tmp'))


def failing(server, case):
    if case == 'checksum':
        server.files['/tiny-py.tar.gz'] = b'<html>please log in</html>'
    elif case == 'silence':
        server.files['/tiny-py.tar.gz'] = 1.0
    return 'http://127.0.0.1:9' if case == 'unreachable' else server.url


@pytest.mark.parametrize(
    ('case', 'why'),
    [
        ('checksum', 'does not have the published MD5 0{32}'),
        ('404', '404'),
        ('unreachable', 'refused|Failed to establish'),
        ('silence', 'timed out'),
    ],
)
def test_failed_download(tmp_path, server, case, why):
    url = f'{failing(server, case)}/tiny-py.tar.gz'
    cls = tiny(url, '0' * 32)
    with pytest.raises(BCE3SError, match=why) as error:
        cls(imbalance_factor=3, data_root=str(tmp_path))
    sentence = str(error.value)
    assert f'{tmp_path}/tiny-py/data_1 is missing' in sentence
    assert f'Download {url} and put it at {tmp_path}/tiny-py.tar.gz' in sentence
    assert not [p for p in tmp_path.rglob('*') if p.is_file()]


def test_second_mirror(tmp_path, server):
    packed = {name: gzip.compress(content, mtime=0) for name, content in IDX.items()}
    server.files.update({f'/b/{name}.gz': content for name, content in packed.items()})

    class Mirrored(TinyMNIST):
        mirrors = (f'{server.url}/a/', f'{server.url}/b/')

    Mirrored(imbalance_factor=2, data_root=str(tmp_path))
    names = [f'{name}.gz' for name in IDX]
    assert server.asked == [f'/{m}/{name}' for name in names for m in 'ab']
    assert sorted(p.name for p in (tmp_path / 'mnist/raw').iterdir()) == sorted(names)


def test_without_download_nothing_is_asked_for(tmp_path, server):
    cls = tiny(f'{server.url}/tiny-py.tar.gz')
    with pytest.raises(BCE3SError, match=r'data_1 is missing. Download http'):
        cls(imbalance_factor=3, data_root=str(tmp_path), download=False)
    with pytest.raises(BCE3SError, match=r'train-images-idx3-ubyte\.gz is missing\. Download http'):
        TinyMNIST(imbalance_factor=2, data_root=str(tmp_path), download=False)
    assert server.asked == []


def test_incomplete_copy_is_named(tmp_path):
    put(tmp_path, 'tiny-py')
    (tmp_path / 'tiny-py/data_2').unlink()
    with pytest.raises(BCE3SError, match='tiny-py/data_2 is missing'):
        tiny()(imbalance_factor=3, data_root=str(tmp_path), download=False)


def test_only_the_first_rank_of_a_node_fetches(monkeypatch):
    calls = []
    for name, value in dict(is_initialized=True, get_rank=0).items():
        monkeypatch.setattr(torch.distributed, name, lambda value=value: value)
    monkeypatch.setattr(torch.distributed, 'barrier', lambda: calls.append('barrier'))
    monkeypatch.setenv('LOCAL_RANK', '1')
    download.once_per_node(lambda: calls.append('fetch'))
    assert calls == ['barrier']
    monkeypatch.setenv('LOCAL_RANK', '0')
    download.once_per_node(lambda: calls.append('fetch'))
    assert calls == ['barrier', 'fetch', 'barrier']

    def fail():
        raise BCE3SError('offline')

    with pytest.raises(BCE3SError, match='offline'):
        download.once_per_node(fail)
    assert calls[3:] == ['barrier']  # the others must not wait for ever
