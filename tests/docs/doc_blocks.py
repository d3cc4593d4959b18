"""What the documents contain that can be wrong: blocks of commands, commands in the text, links.

A comment directly above a block says how the test shortens it; without one the block is run as it
stands, in the order of the document:

    <!-- test: options train_cfg.max_epochs=2 -->       further --cfg-options for tools/train.py
    <!-- test: last -->                                 only what follows the last &&
    <!-- test: pictures mine; slow -->                  makes that folder; runs with -m slow only,
                                                        otherwise as form
    <!-- test: form; because it needs two machines -->  only arguments and configs are checked
    <!-- file: mine/loss.py -->                         a block that the reader saves under a name
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ('README.md', *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob('docs/*.md')))
LANGUAGES = ('bash', 'csv', 'json', 'python', 'text')
# name of a word in a `test:` comment -> how many values it takes (None: any)
WORDS = {
    'options': None,
    'last': 0,
    'form': 0,
    'because': None,
    'slow': 0,
    'pictures': None,
    'unsorted': None,
    'list': None,
}


@dataclass(frozen=True)
class Block:
    """A fenced block: the line of its fence, what its comment says, its text."""

    document: str
    line: int
    language: str
    text: str
    file: str | None = None
    test: dict[str, list[str]] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f'{self.document}:{self.line}'


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding='utf-8')


def blocks_of(document: str) -> list[Block]:
    """Every fenced block in order."""
    blocks, comment, opened = [], '', None
    for number, line in enumerate(text_of(document).splitlines(), 1):
        fence = re.match(r'```(.*)$', line)
        if opened is None and fence:
            opened = (number, fence[1].strip(), comment, [])
        elif opened is not None and fence:
            start, language, said, lines = opened
            blocks.append(_block(document, start, language, said, lines))
            opened = None
        elif opened is not None:
            opened[3].append(line)
        comment = line if line.startswith('<!--') else ''
    assert opened is None, f'{document}:{opened[0]}: this block has no end'
    return blocks


def _block(document: str, line: int, language: str, comment: str, lines: list[str]) -> Block:
    said = re.fullmatch(r'<!-- (file|test): (.*) -->', comment)
    file, test = None, {}
    if said and said[1] == 'file':
        file = said[2]
    elif said:
        test = {words[0]: words[1:] for words in map(str.split, said[2].split(';'))}
        for word, values in test.items():
            assert word in WORDS, f'{document}:{line - 1}: the harness knows no {word!r}'
            wrong = WORDS[word] is not None and WORDS[word] != len(values)
            assert not wrong, f'{document}:{line - 1}: {word} takes {WORDS[word]} values'
    return Block(document, line, language, '\n'.join(lines) + '\n', file, test)


def prose_of(document: str) -> list[tuple[int, str]]:
    """(line, text) of everything outside fenced blocks."""
    inside, lines = False, []
    for number, line in enumerate(text_of(document).splitlines(), 1):
        if line.startswith('```'):
            inside = not inside
        elif not inside:
            lines.append((number, line))
    return lines


# What stands for something of the reader's in a command of the text.
PLACEHOLDERS = {
    'CONFIG': 'configs/bce3s/digits.py',
    'CHECKPOINT': 'work_dirs/digits/epoch_130.pth',
    'RUN': 'work_dirs/digits',
    'PICTURES': 'pictures',
    'SECTION': 'step',
    'HOST': 'first.example.org',
}


def inline_commands(document: str) -> list[tuple[int, str]]:
    """(line, command) of every command in backticks, placeholders filled in, what is optional
    given.
    """
    found = []
    for number, line in prose_of(document):
        for code in re.findall(r'`([^`]+)`', line):
            code = re.sub(r'^\.\.\. (?=--)', 'python tools/train.py CONFIG ', code)
            if re.match(r'([A-Z_]+=\S+ )*(python3? |tools/\w+\.sh )', code):
                code = re.sub(r'[\[\]]| \.\.\.', '', code)
                for name, value in PLACEHOLDERS.items():
                    code = re.sub(rf'(?<![\w=/]){name}(?![\w/.])', value, code)
                found.append((number, code))
    return found


def links_of(document: str) -> list[tuple[int, str]]:
    """(line, target) of links and pictures to files of the repository or headings."""
    return [
        (number, target)
        for number, line in prose_of(document)
        for target in re.findall(r'\]\(([^)\s]+)\)', re.sub(r'`[^`]*`', '', line))
        if not re.match(r'https?://', target)
    ]


def anchors_of(document: str) -> set[str]:
    """The ids that GitHub gives the headings."""
    heads = (re.match(r'#+ (.*)', line) for _, line in prose_of(document))
    texts = (re.sub(r'[^\w\- ]', '', head[1].lower()) for head in heads if head)
    return {text.strip().replace(' ', '-') for text in texts}
