"""README.md and docs/: their commands run or could be started, their links lead somewhere."""

import re
import subprocess

import pytest
from documents import (
    DOCUMENTS,
    ROOT,
    Checkout,
    anchors_of,
    blocks_of,
    inline_commands,
    links_of,
    text_of,
)

BLOCKS = {document: blocks_of(document) for document in DOCUMENTS}
MARKDOWN = sorted(
    str(path.relative_to(ROOT))
    for path in ROOT.rglob('*.md')
    if not any(part.startswith('.') for part in path.relative_to(ROOT).parts)
    and path.relative_to(ROOT).parts[0] not in ('data', 'work_dirs')
)


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path / 'checkout')


def in_order(document, checkout, slow):
    """Saves, runs or checks what the document has; ``slow``: runs what takes long too."""
    for block in BLOCKS[document]:
        if block.file:
            path = checkout.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        if block.language == 'bash':
            form = 'form' in block.test or ('slow' in block.test and not slow)
            (checkout.check if form else checkout.run)(block if not form else block.text)


@pytest.mark.parametrize('document', DOCUMENTS)
def test_its_commands(document, checkout):
    in_order(document, checkout, slow=False)
    if commands := inline_commands(document):
        checkout.check('\n'.join(commands))


@pytest.mark.slow
@pytest.mark.parametrize(
    'document', [d for d in DOCUMENTS if any('slow' in b.test for b in BLOCKS[d])]
)
def test_all_its_blocks_run_in_order(document, checkout):
    in_order(document, checkout, slow=True)


@pytest.mark.parametrize('document', DOCUMENTS)
def test_no_command_hides_in_a_block_that_is_not_run(document):
    assert len(BLOCKS[document]) == len(re.findall('^```', text_of(document), re.M)) / 2
    for block in BLOCKS[document]:
        assert block.language in ('bash', 'csv', 'json', 'python', 'text'), block
        assert block.language == 'bash' or 'python tools/' not in block.text, block
        known = {
            'options',
            'last',
            'form',
            'because',
            'slow',
            'pictures',
            'unsorted',
            'list',
            'labels',
        }
        assert block.test.keys() <= known, block
        assert ('form' in block.test) == ('because' in block.test), block


def test_the_readme_begins_with_training_and_testing():
    """What .ci/run reads: the second block, its first line."""
    first, second = [block for block in BLOCKS['README.md'] if block.language == 'bash'][:2]
    start = 'python3 -m venv .venv && . .venv/bin/activate && pip install -r requirements.txt && '
    assert first.text == f'{start}python tools/train.py configs/bce3s/digits.py\n'
    assert second.text == f'{start}python -m pytest -n 2 --dist loadfile\n'


@pytest.mark.parametrize(
    'command',
    [
        'python tools/train.py configs/bce3s/no_such.py',
        'python tools/train.py configs/bce3s/digits.py --sede 1',
        'python tools/train.py configs/bce3s/digits.py --cfg-options modle=1',
        'tools/dist_train.sh configs/bce3s/digits.py',
        'no_such_command',
    ],
)
def test_a_command_that_cannot_be_started_is_found(checkout, command):
    with pytest.raises(Exception, match=r'.'):
        checkout.check(command)


def test_the_readme_is_short_and_names_the_documents():
    assert len(text_of('README.md').splitlines()) < 150
    named = {target.partition('#')[0] for target in links_of('README.md')}
    assert named >= set(DOCUMENTS) - {'README.md'}


@pytest.mark.parametrize('document', MARKDOWN)
def test_links_lead_somewhere(document):
    for target in links_of(document):
        path, _, anchor = target.partition('#')
        end = (ROOT / document).parent / path if path else ROOT / document
        assert end.exists(), target
        if anchor:
            assert anchor in anchors_of(str(end.resolve().relative_to(ROOT))), target


@pytest.mark.parametrize('document', DOCUMENTS)
def test_files_in_its_text_exist(document):
    """Paths below configs/, tools/, ..., wildcards and braces included."""
    text = text_of(document)
    paths = re.findall(r'`((?:configs|tools|docs|tests|bce3s|data_lists)/[^`\s:]*)`', text)
    for path in (path for path in paths if 'NAME' not in path):
        done = subprocess.run(['bash', '-c', f'shopt -s failglob; ls -d {path}'], cwd=ROOT)
        assert done.returncode == 0, path


@pytest.mark.parametrize('document', MARKDOWN)
def test_no_paths_of_a_machine(document):
    assert not re.findall(r'(?<![\w.])/(?:work|home|root|tmp|Users)/', text_of(document))


def test_images_are_small_and_shown():
    for path in (ROOT / 'docs/figures').iterdir():
        assert path.stat().st_size < 150_000, path.name
        assert path.name in ''.join(map(text_of, DOCUMENTS)), path.name
