"""A table or figure of the papers, reproduced: ``python tools/reproduce.py TABLE [...]``."""

import sys
from pathlib import Path

# Runs from a checkout, without installation.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bce3s.arguments import status_of


def run() -> int:
    """Tables are made of configs as they are imported: what is wrong with one is a sentence too."""
    from reproduction.command import main

    return main()


if __name__ == '__main__':
    sys.exit(status_of(run))
