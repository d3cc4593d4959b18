"""What README.md and docs/ contain that can be wrong: blocks of commands, commands in the text.

A comment directly above a block says how the test treats it; without one the block is run as it
stands, in the order of the document:

    <!-- test: options train_cfg.max_epochs=2 -->       further --cfg-options for tools/train.py
    <!-- test: last -->                                 only what follows the last &&
    <!-- test: pictures mine; slow -->                  makes that folder; runs with -m slow only,
                                                        otherwise as form
    <!-- test: form; because it needs two machines -->  only arguments and configs are checked
    <!-- file: mine/loss.py -->                         a block that the reader saves under a name
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import re
import runpy
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
from trained_runs import check_learning, picture

from bce3s.config import load_config

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ('README.md', *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob('docs/*.md')))
PLACEHOLDERS = {  # what stands for something of the reader's in a command of the text
    'CONFIG': 'configs/bce3s/digits.py',
    'CHECKPOINT': 'work_dirs/digits/epoch_130.pth',
    'RUN': 'work_dirs/digits',
    'PICTURES': 'pictures',
    'SECTION': 'step',
    'HOST': 'first.example.org',
}


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding='utf-8')


@dataclass(frozen=True)
class Block:
    """A fenced block: the line of its fence, what its comment says, its text."""

    document: str
    line: int
    language: str
    text: str
    file: str
    test: dict[str, list[str]]


def blocks_of(document: str) -> list[Block]:
    """Every fenced block in order."""
    text, blocks = text_of(document), []
    fence = r'^(?:<!-- (file|test): ([^\n]*) -->\n)?```(\w*)\n(.*?)^```$'
    for found in re.finditer(fence, text, re.M | re.S):
        kind, said, language, body = found.groups()
        words = [part.split() for part in said.split(';')] if kind == 'test' else []
        test = {word: values for word, *values in words}
        line = text.count('\n', 0, found.start(3)) + 1
        file = said if kind == 'file' else ''
        blocks.append(Block(document, line, language, body, file, test))
    return blocks


def prose_of(document: str) -> str:
    """Everything outside fenced blocks."""
    return re.sub(r'^```.*?^```$', '', text_of(document), flags=re.M | re.S)


def inline_commands(document: str) -> list[str]:
    """Every command in backticks, placeholders filled in, what is optional given."""
    found = []
    for code in re.findall(r'`([^`\n]+)`', prose_of(document)):
        code = re.sub(r'^\.\.\. (?=--)', 'python tools/train.py CONFIG ', code)
        if re.match(r'([A-Z_]+=\S+ )*(python3? |tools/\w+\.sh )', code):
            code = re.sub(r'[\[\]]| \.\.\.', '', code)
            for name, value in PLACEHOLDERS.items():
                code = re.sub(rf'(?<![\w=/]){name}(?![\w/.])', value, code)
            found.append(code)
    return found


def links_of(document: str) -> list[str]:
    """Links and images to files of the repository or headings."""
    prose = re.sub(r'`[^`]*`', '', prose_of(document))
    targets = re.findall(r'\]\(([^)\s]+)\)', prose)
    return [target for target in targets if not target.startswith('http')]


def anchors_of(document: str) -> set[str]:
    """The ids that GitHub gives the headings."""
    heads = re.findall(r'^#+ (.*)', prose_of(document), re.M)
    return {re.sub(r'[^\w\- ]', '', head.lower()).strip().replace(' ', '-') for head in heads}


# ------------------------------------------------------------ a reader's checkout
# More --cfg-options for what trains, before those of the command, which win.
PYTHON = """#!/usr/bin/env bash
arguments=()
for word in "$@"; do
    arguments+=("$word")
    if [[ $word == --cfg-options ]]; then arguments+=($DOC_OPTIONS); fi
done
if [[ -n ${DOC_OPTIONS:-} && $1 =~ ^tools/(train|launch).py$ && " $* " != *" --cfg-options "* ]]
then
    arguments+=(--cfg-options $DOC_OPTIONS)
fi
exec %s "${arguments[@]}"
"""
# A command is its words, each with a NUL, and one word more: \\1.
RECORDER = """#!/usr/bin/env bash
printf '%s\\0' "$0" "$@" $'\\1' >> "$DOC_RECORD"
"""
COUNTS = dict(ant=48, bee=24, cat=12)


class Checkout:
    """A copy of the repository with work_dirs and data of its own, one for each document: its
    blocks find what those before them left.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ('bce3s', 'configs', 'tools'):  # tools look for the package beside them
            ignored = shutil.ignore_patterns('__pycache__')
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        for name in ('README.md', 'docs', 'data_lists', 'pyproject.toml', 'requirements.txt'):
            (folder / name).symlink_to(ROOT / name)
        (folder / 'tests').symlink_to(ROOT / 'tests')
        for name in ('python', 'python3'):
            _script(folder / 'bin' / name, PYTHON % sys.executable)
        for name in ('python', 'python3', 'pip', 'sbatch', 'tensorboard'):
            _script(folder / 'stubs' / name, RECORDER)

    def run(self, block: Block) -> None:
        """Runs a block as its comment says; what it trains has to learn."""
        for name in block.test.get('pictures', ()):
            write_pictures(self.folder / name, flat=False)
        for name in block.test.get('unsorted', ()):
            write_pictures(self.folder / name, flat=True)
        for name in block.test.get('list', ()):
            write_list(self.folder / name)
        for name in block.test.get('labels', ()):
            write_labels(self.folder / name)
        before = set(self.folder.glob('work_dirs/**/epoch_*.pth'))
        text = block.text.rpartition('&&')[2] if 'last' in block.test else block.text
        self.bash(text, 'bin', DOC_OPTIONS=' '.join(block.test.get('options', ())))
        after = set(self.folder.glob('work_dirs/**/epoch_*.pth'))
        for run in {path.parent for path in after - before}:
            check_learning(run)

    def check(self, text: str) -> None:
        """Every command that bash would start could be started: variables, loops and quotes are
        its own business.
        """
        record, tools = self.folder / 'record', self.folder / 'tools'
        kept = {path: path.read_text() for path in tools.glob('*.sh')}
        for path in kept:
            _script(path, RECORDER)
        _script(self.folder / '.venv/bin/activate', '')
        record.write_text('')
        try:
            self.bash(text, 'stubs', DOC_RECORD=str(record))
        finally:
            for path, content in kept.items():
                _script(path, content)
        commands = record.read_text().split('\0\1\0')[:-1]
        assert commands, f'{text}: no command'
        for command in commands:
            name, *words = command.split('\0')
            with contextlib.chdir(self.folder):
                check_command(name.removeprefix(f'{self.folder}/stubs/'), words)

    def bash(self, text: str, first: str, **variables: str) -> None:
        env = dict(os.environ, OMP_NUM_THREADS='1', **variables)
        env['PATH'] = f'{self.folder / first}:{env["PATH"]}'
        done = subprocess.run(
            ['bash', '-euo', 'pipefail', '-c', text],
            cwd=self.folder,
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=900,
        )
        assert done.returncode == 0, f'{text}: status {done.returncode}\n{done.stdout}'


def _script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def write_pictures(folder: Path, flat: bool) -> None:
    """``folder/CLASS/*.png`` of ``COUNTS``; ``flat``: two of each class in one folder."""
    rng = np.random.default_rng(0)
    for name, count in COUNTS.items():
        for i in range(2 if flat else count):
            path = folder / (f'{name}_{i}.png' if flat else f'{name}/{i:03}.png')
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(name, rng, (32, 32)).save(path)


def write_list(path: Path) -> None:
    """``path,label`` of the images beside it, in class folders."""
    write_pictures(path.parent, flat=False)
    with path.open('w', newline='') as file:
        rows = csv.writer(file)
        rows.writerow(['path', 'label'])
        for image in sorted(path.parent.glob('*/*.png')):
            rows.writerow([str(image.relative_to(path.parent)), image.parent.name])


def write_labels(path: Path) -> None:
    """A table with a column for each class, of images of one class or of two side by side, in the
    folder that is called as the table.
    """
    rng, names = np.random.default_rng(0), list(COUNTS)
    folder = path.with_suffix('')
    folder.mkdir()
    with path.open('w', newline='') as file:
        rows = csv.writer(file)
        rows.writerow(['path', *names])
        for i in range(60):
            both = [names[k] for k in (rng.random(2) ** 2 * len(names)).astype(int)]
            image = picture(both[0], rng, (32, 32))
            image.paste(picture(both[1], rng, (32, 16)), (16, 0))
            image.save(folder / f'{i:03}.png')
            marks = [int(name in both) for name in names]
            rows.writerow([f'{folder.name}/{i:03}.png', *('' if i == 7 else m for m in marks)])


# ------------------------------------------------------------ whether a command could be started
class _Parsed(Exception):
    """Leaves a tool with what it has parsed."""


def check_command(name: str, words: list[str]) -> None:
    """Its tool is there, its parser takes the arguments, and the config that it names can be read
    with its options. Nothing is run.
    """
    if name == 'sbatch':
        wrapped = next(word for word in words if word.startswith('--wrap='))
        name, *words = wrapped.removeprefix('--wrap=').split()
    if name.endswith('.sh'):  # these hand on what is left to train.py or test.py
        assert Path(name).is_file(), name
        if name.endswith('slurm_train.sh'):
            words = words[2:]
        else:
            place = 2 if 'test' in name else 1  # of the number of processes
            assert int(words.pop(place)) > 0, words
        words = ['tools/test.py' if 'test' in name else 'tools/train.py', *words]
    if name in ('pip', 'tensorboard') or words[0] == '-m':
        return
    script, *arguments = words
    if len(Path(script).parts) == 1:  # the reader's own, saved from the document
        compile(Path(script).read_bytes(), script, 'exec')
        return
    parsed = parsed_by(script, arguments)
    config = getattr(parsed, 'config', None) or getattr(parsed, 'run', None) or ''
    if config.endswith('.py') and not config.startswith('work_dirs/'):  # which a run has written
        load_config(config, parsed.cfg_options)


def parsed_by(script: str, arguments: list[str]) -> argparse.Namespace:
    """What the script's own parser makes of the arguments; the script ends there."""
    assert Path(script).is_file(), f'{script} does not exist'
    real = argparse.ArgumentParser.parse_args

    def leave(self, *given, **named):
        raise _Parsed(real(self, *given, **named))

    place = str(Path(script).parent.resolve())
    with (
        patch.object(sys, 'argv', [script, *arguments]),
        patch.object(sys, 'path', [place, *sys.path]),
        patch.dict(os.environ),
        patch.object(argparse.ArgumentParser, 'parse_args', leave),
    ):
        try:
            runpy.run_path(script, run_name='__main__')
        except _Parsed as parsed:
            return parsed.args[0]
        except SystemExit as stop:
            raise AssertionError(f'{script} {" ".join(arguments)}: wrong arguments') from stop
    raise AssertionError(f'{script} parses no arguments')
