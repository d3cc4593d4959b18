"""A table or figure of the papers, reproduced: ``python tools/reproduce.py TABLE [...]``."""

import sys
from pathlib import Path

# Runs from a checkout, without installation.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reproduction.command import main

if __name__ == '__main__':
    sys.exit(main())
