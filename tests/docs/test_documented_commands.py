"""Every command of the documents: blocks run in order in a reader's checkout, those that need what
a test has not, and those in the text, are taken by their tools.
"""

import pytest
from doc_blocks import DOCUMENTS, LANGUAGES, blocks_of, inline_commands
from doc_checkout import Checkout
from doc_forms import check_command

BLOCKS = {document: blocks_of(document) for document in DOCUMENTS}


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path / 'checkout')


def take(text, checkout):
    commands = checkout.recorded(text)
    assert commands, f'{text}: no command'
    for words in commands:
        check_command(words, checkout.folder)


def in_order(document, checkout, slow):
    """Saves, runs or checks what the document has, one after the other.

    Args:
        slow: whether blocks that take long are run too, rather than checked.

    Returns:
        The lines of the blocks that were run, and of those that were checked.
    """
    ran, checked = [], []
    for block in BLOCKS[document]:
        if block.file is not None:
            checkout.save(block)
        if block.language != 'bash':
            continue
        if 'form' in block.test or ('slow' in block.test and not slow):
            take(block.text, checkout)
            checked.append(block.line)
        else:
            checkout.run(block)
            ran.append(block.line)
    return ran, checked


@pytest.mark.parametrize('document', DOCUMENTS)
def test_its_blocks_run_in_order(document, checkout):
    ran, checked = in_order(document, checkout, slow=False)
    assert sorted(ran + checked) == [b.line for b in BLOCKS[document] if b.language == 'bash']


@pytest.mark.slow
@pytest.mark.parametrize(
    'document', [d for d in DOCUMENTS if any('slow' in b.test for b in BLOCKS[d])]
)
def test_all_its_blocks_run_in_order(document, checkout):
    _, checked = in_order(document, checkout, slow=True)
    assert checked == [block.line for block in BLOCKS[document] if 'form' in block.test]


@pytest.mark.parametrize('document', DOCUMENTS)
def test_the_commands_in_its_text_are_taken(document, checkout):
    for block in BLOCKS[document]:
        if block.file is not None:
            checkout.save(block)
    for line, command in inline_commands(document):
        try:
            take(command, checkout)
        except Exception as error:
            raise AssertionError(f'{document}:{line}: {command}: {error}') from error


@pytest.mark.parametrize('document', DOCUMENTS)
def test_no_command_hides_in_a_block_that_is_not_run(document):
    for block in BLOCKS[document]:
        assert block.language in LANGUAGES, f'{block.place}: ```{block.language}'
        if block.language != 'bash':
            assert not block.test, block.place
            assert 'python tools/' not in block.text, block.place
        if 'form' in block.test:
            assert block.test.get('because'), f'{block.place}: say why it is not run'


def test_the_readme_begins_with_training_and_testing():
    """What .ci/run reads: the second block, its first line."""
    first, second = [block for block in BLOCKS['README.md'] if block.language == 'bash'][:2]
    start = 'python3 -m venv .venv && . .venv/bin/activate && pip install -r requirements.txt && '
    assert first.text == f'{start}python tools/train.py configs/bce3s/digits.py\n'
    assert second.text == f'{start}python -m pytest -n 2 --dist loadfile\n'


# ------------------------------------------------------------ the harness itself
@pytest.mark.parametrize(
    ('command', 'said'),
    [
        ('python tools/train.py configs/bce3s/no_such.py', 'does not exist'),
        ('python tools/train.py configs/bce3s/digits.py --sede 1', 'unrecognized arguments'),
        ('python tools/train.py configs/bce3s/digits.py --cfg-options modle=1', 'no key'),
        ('python tools/no_such.py', 'does not exist'),
        ('tools/dist_train.sh configs/bce3s/digits.py', 'list index'),
        ('sed -i s/a/b/ no_such_file', 'status 2'),
        ('no_such_command', 'not found'),
    ],
)
def test_a_command_that_cannot_be_started_is_found(checkout, command, said):
    with pytest.raises(Exception, match=said):
        take(command, checkout)


def test_bash_itself_tells_which_commands_there_are(checkout):
    text = 'for s in 0 1; do A=1 python x.py \\\n  --s $s "a b"; done  # python y.py\n'
    assert checkout.recorded(text) == [['python', 'x.py', '--s', s, 'a b'] for s in '01']
