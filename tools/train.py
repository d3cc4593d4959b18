"""Train a config: ``python tools/train.py CONFIG [--work-dir D] [--resume [CKPT]] ...``."""

import sys
from pathlib import Path

# Runs from a checkout, without installation.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bce3s.cli import main

if __name__ == '__main__':
    sys.exit(main('train'))
