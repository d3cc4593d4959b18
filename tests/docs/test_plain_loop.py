"""docs/plain_pytorch.md: its loop is as short as it says, needs PyTorch alone, and learns."""

import os
import re
import subprocess
import sys

from documents import ROOT, blocks_of

(LOOP,) = [block.text for block in blocks_of('docs/plain_pytorch.md') if block.file]
HEAVY = ('mmengine', 'mmpretrain', 'cv2', 'torchvision', 'sklearn', 'matplotlib')


def test_thirty_lines_from_the_first_step_on():
    lines = [line for line in LOOP[LOOP.index('step = 0') :].splitlines() if line.strip()]
    assert len(lines) <= 30


def test_it_learns_with_nothing_but_pytorch_imported_before_the_data():
    told = f'import sys\nprint([name for name in {HEAVY} if name in sys.modules])\ntrain, test ='
    code = LOOP.replace('train, test =', told, 1)
    environment = os.environ | dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True, env=environment
    )
    imported, accuracy = done.stdout.splitlines()
    assert imported == '[]'
    assert float(re.fullmatch(r'accuracy (.*) %', accuracy)[1]) >= 88  # plain CE: 89.4 +- 1.9
