"""Archives that somebody made up to write where they must not, to fill the disk, or to hang."""

import gzip
import io
import os
import tarfile

import pytest

from bce3s.datasets.archives import extract, require_md5
from bce3s.errors import BCE3SError

WANTED = {'d/a.jpg': 'train/x/a.jpg', 'd/b.jpg': 'b.jpg'}


def member(name, content=b'', kind=tarfile.REGTYPE, link='', **fields):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(content), kind, link
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def tar(*members, **options):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode='w', **options) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


A, B = member('d/a.jpg', b'A' * 700), member('d/b.jpg', b'B' * 512)


@pytest.fixture
def unpack(tmp_path):
    """Unpacks bytes into a folder ``root`` of its own; nothing may appear outside of it."""

    def run(content, wanted=WANTED, **options):
        archive = tmp_path / 'x.tar'
        archive.write_bytes(content)
        try:
            return extract(archive, wanted, tmp_path / 'root', **options)
        finally:
            assert {p.name for p in tmp_path.iterdir()} <= {'x.tar', 'root'}
            assert not list(tmp_path.rglob('*.tmp'))
            assert not any(p.is_symlink() for p in tmp_path.rglob('*'))

    return run


def files(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob('*') if p.is_file()}


BOTH = {'train/x/a.jpg': A[1], 'b.jpg': B[1]}


@pytest.mark.parametrize('pack', [bytes, gzip.compress])
@pytest.mark.parametrize('form', [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_what_is_wanted(tmp_path, unpack, pack, form):
    read = []
    done = unpack(
        pack(tar(member('./d', kind=tarfile.DIRTYPE), A, member('d/c', b'C'), B, format=form)),
        progress=lambda now, total: read.append((now, total)),
    )
    assert files(tmp_path / 'root') == BOTH
    assert (done.written, done.kept, done.passed_over, done.missing) == (2, 0, 2, [])
    assert all(0 < now <= total for now, total in read)


def test_an_archive_in_the_archive(tmp_path, unpack):
    inner = [tar(A, B, member('junk', b'j' * 5000)), tar(member('d/a.jpg', b'other'))]
    outer = tar(
        member('n1.tar', inner[0]), member('rest.tar', inner[1]), member('n2.tar', inner[1])
    )
    wanted = {'n1.tar/d/b.jpg': 'n1/b', 'n1.tar/d/a.jpg': 'n1/a', 'n2.tar/d/a.jpg': 'n2/a'}
    for pack in (bytes, gzip.compress):
        done = unpack(pack(outer), wanted)
    assert files(tmp_path / 'root') == {'n1/a': A[1], 'n1/b': B[1], 'n2/a': b'other'}
    assert (done.written, done.kept, done.passed_over) == (0, 3, 2)
    link = unpack(tar(member('n1.tar', kind=tarfile.SYMTYPE, link='/etc')), wanted)
    assert link.missing == list(wanted)
    bad = tar(member('d/a.jpg', kind=tarfile.LNKTYPE, link='d/b.jpg'))
    with pytest.raises(BCE3SError, match=r"'n1.tar/d/a.jpg' is no plain file"):
        unpack(tar(member('n1.tar', bad)), wanted)
    with pytest.raises(BCE3SError, match='cannot be unpacked'):  # more inside than it holds
        unpack(tar(member('n1.tar', inner[0][:700])), wanted)


def test_it_goes_on_where_it_stopped(tmp_path, unpack):
    with pytest.raises(BCE3SError, match='cannot be unpacked'):
        unpack(tar(A, B)[: 512 + 1024 + 512 + 100])
    assert files(tmp_path / 'root') == {'train/x/a.jpg': A[1]}
    (tmp_path / 'root/train/x/a.jpg').write_bytes(b'Z' * 700)  # of the right size: left alone
    done = unpack(tar(A, B))
    assert (done.written, done.kept) == (1, 1)
    (tmp_path / 'root/train/x/a.jpg').write_bytes(b'Z')  # of another size: written again
    unpack(tar(A, B))
    assert files(tmp_path / 'root') == BOTH


ELSEWHERE = [
    '/etc/passwd',
    '../escaped',
    'd/../../escaped',
    '/d/a.jpg',
    'd//a.jpg',
    'd/./a.jpg',
    '',
]
STRANGE = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]


def test_what_was_not_asked_for_is_passed_over(tmp_path, unpack):
    """Links that a later member would be written through, too."""
    strange = [member(f'd/s{i}', kind=kind, link='/tmp') for i, kind in enumerate(STRANGE)]
    strange += [member(name, b'x') for name in ELSEWHERE]
    strange += [
        member('d', kind=tarfile.SYMTYPE, link='..'),
        member('b.jpg', b'not the wanted one'),
    ]
    strange += [member('train', b'a file where a folder must be')]
    strange += [member('d/x\0y', b'NUL', pax_headers={'path': 'd/a.jpg\0/../x'})]
    done = unpack(tar(*strange, A, B, format=tarfile.PAX_FORMAT))
    assert files(tmp_path / 'root') == BOTH
    assert done.passed_over == len(strange)


@pytest.mark.parametrize(
    'bad',
    [
        *(member('d/a.jpg', kind=kind, link='d/b.jpg') for kind in STRANGE),
        member('d/a.jpg', kind=tarfile.DIRTYPE),
        member('d/a.jpg', b'x' * 1001),
    ],
)
def test_what_is_wanted_must_be_a_plain_file(tmp_path, unpack, bad):
    with pytest.raises(BCE3SError, match=r"'d/a.jpg' is no plain file of up to 1000 bytes"):
        unpack(tar(B, bad), largest=1000)
    assert files(tmp_path / 'root') == {'b.jpg': B[1]}


@pytest.mark.parametrize('size', [-512, -1536, -(1 << 40), 1 << 40, 1 << 62, 9 * 10**30])
def test_headers_that_point_back_or_far_away(unpack, size):
    bad = member('junk', b'x' * 100, pax_headers={'size': str(size)})
    for pack in (bytes, gzip.compress):
        with pytest.raises(BCE3SError, match='cannot be unpacked'):
            unpack(pack(tar(B, bad, A, format=tarfile.PAX_FORMAT)))


@pytest.mark.parametrize(
    'content', [b'', b'x', b'<html>', os.urandom(3000), b'\x1f\x8b' + b'x' * 99]
)
def test_no_archive(unpack, content):
    with pytest.raises(BCE3SError, match='cannot be unpacked'):
        unpack(content)


def test_a_file_where_a_folder_must_be(tmp_path, unpack):
    (tmp_path / 'root').mkdir()
    (tmp_path / 'root/train').write_text('mine')
    with pytest.raises(BCE3SError, match='cannot be unpacked'):
        unpack(tar(A, B))
    assert (tmp_path / 'root/train').read_text() == 'mine'
    (tmp_path / 'root/b.jpg').mkdir()
    with pytest.raises(BCE3SError, match='cannot be unpacked'):
        unpack(tar(B))


def test_checksum(tmp_path):
    path = tmp_path / 'x.tar'
    path.write_bytes(b'hello\n')
    require_md5(path, 'b1946ac92492d2347c6235b4d2611184')
    with pytest.raises(BCE3SError, match=r'MD5 b1946ac9.*published is 0000'):
        require_md5(path, '0' * 32)
    with pytest.raises(BCE3SError, match='cannot be read'):
        require_md5(tmp_path / 'y', '0' * 32)
