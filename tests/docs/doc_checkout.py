"""A reader's checkout: a copy of the repository with work_dirs and data of its own, in which the
commands of the documents run, or are written down to see whether their tools would take them.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from doc_blocks import ROOT, Block
from trained_runs import check_learning

COPIED = ('bce3s', 'configs', 'tools')  # tools look for the package beside their real path
LINKED = ('README.md', 'docs', 'data_lists', 'pyproject.toml', 'requirements.txt', 'tests')
RECORDED = ('python', 'python3', 'pip', 'sbatch', 'tensorboard')
SCRIPTS = ('dist_train.sh', 'dist_test.sh', 'slurm_train.sh')

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


class Checkout:
    """One for each document: its blocks find what those before them left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in COPIED:
            ignored = shutil.ignore_patterns('__pycache__')
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        for name in LINKED:
            (folder / name).symlink_to(ROOT / name)
        self.bin = folder.parent / f'{folder.name}-bin'
        for name in ('python', 'python3'):
            _script(self.bin / name, PYTHON % sys.executable)

    def run(self, block: Block) -> None:
        """Runs a block as its comment says.

        Raises:
            AssertionError: it fails, with place and output; or what it trained has not learned.
        """
        self.prepare(block)
        before = self._checkpoints()
        text = block.text
        if 'last' in block.test:
            text = text.rpartition('&&')[2]
        options = ' '.join(block.test.get('options', ()))
        done = self._bash(text, self.bin, DOC_OPTIONS=options)
        assert done.returncode == 0, f'{block.place}: status {done.returncode}\n{done.stdout}'
        for run in {path.parent for path in self._checkpoints() - before}:
            check_learning(run)

    def _checkpoints(self) -> set[Path]:
        return set(self.folder.glob('work_dirs/**/epoch_*.pth'))

    def prepare(self, block: Block) -> None:
        """The reader's own pictures, where the block is about them."""
        for name in block.test.get('pictures', ()):
            class_folders(self.folder / name)
        for name in block.test.get('unsorted', ()):
            unsorted_pictures(self.folder / name)
        for name in block.test.get('list', ()):
            write_list(self.folder / name)

    def save(self, block: Block) -> None:
        """What the reader saves as a file."""
        path = self.folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)

    def recorded(self, text: str) -> list[list[str]]:
        """The words of every command that bash would start: variables, loops and quotes are its
        own business.
        """
        record, stubs = self.folder / 'record', self.folder / 'stubs'
        for name in RECORDED:
            _script(stubs / name, RECORDER)
        kept = {name: (self.folder / 'tools' / name).read_text() for name in SCRIPTS}
        for name in SCRIPTS:
            _script(self.folder / 'tools' / name, RECORDER)
        activate = self.folder / '.venv/bin/activate'
        activate.parent.mkdir(parents=True, exist_ok=True)
        activate.touch()
        record.write_text('')
        try:
            done = self._bash(text, stubs, DOC_RECORD=str(record))
        finally:
            for name, content in kept.items():
                _script(self.folder / 'tools' / name, content)
        assert done.returncode == 0, f'{text}: status {done.returncode}\n{done.stdout}'
        commands, words = [], []
        for word in record.read_text().split('\0')[:-1]:
            if word == '\1':
                commands.append([words[0].removeprefix(f'{stubs}/'), *words[1:]])
                words = []
            else:
                words.append(word)
        return commands

    def _bash(self, text: str, first: Path, **variables: str) -> subprocess.CompletedProcess:
        env = dict(os.environ, OMP_NUM_THREADS='1', **variables)
        env['PATH'] = f'{first}:{env["PATH"]}'
        return subprocess.run(
            ['bash', '-euo', 'pipefail', '-c', text],
            cwd=self.folder,
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=900,
        )


def _script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


# ------------------------------------------------------------ pictures
COUNTS = dict(daisy=48, poppy=24, thistle=12, orchid=6)


def picture(kind: int, seed: int) -> np.ndarray:
    """(32, 32, 3) uint8: a disc, a square, stripes or a ring, somewhere, in noise."""
    rng = np.random.default_rng([kind, seed])
    image = rng.integers(0, 90, (32, 32, 3), dtype=np.uint8)
    centre = tuple(int(v) for v in rng.integers(10, 22, 2))
    colour = [60, 60, 60]
    colour[kind % 3] = int(rng.integers(180, 255))
    if kind == 1:
        corner = (centre[0] + 8, centre[1] + 8)
        cv2.rectangle(image, (centre[0] - 8, centre[1] - 8), corner, colour, -1)
    elif kind == 2:
        image[centre[0] % 4 :: 4] = colour
    else:
        cv2.circle(image, centre, 9, colour, -1 if kind == 0 else 2)
    return image


def class_folders(folder: Path) -> None:
    """``folder/CLASS/*.png``: four classes of ``COUNTS`` pictures."""
    for kind, (name, count) in enumerate(COUNTS.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for seed in range(count):
            cv2.imwrite(str(folder / name / f'{seed:03}.png'), picture(kind, seed))


def unsorted_pictures(folder: Path) -> None:
    """A few more of every class, in one folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in range(len(COUNTS)):
        for seed in (1000, 1001):
            cv2.imwrite(str(folder / f'{kind}_{seed}.png'), picture(kind, seed))


def write_list(path: Path) -> None:
    """``path,label`` of the pictures beside it, in class folders."""
    class_folders(path.parent)
    files = sorted(path.parent.glob('*/*.png'))
    with path.open('w', newline='') as file:
        rows = csv.writer(file)
        rows.writerow(['path', 'label'])
        rows.writerows([str(f.relative_to(path.parent)), f.parent.name] for f in files)
