#!/usr/bin/env python
"""Lists and images of a benchmark into their places: ``python tools/prepare_data.py NAME``."""

import sys
from pathlib import Path

# Runs from a checkout, without installation.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bce3s.prepare_data import main

if __name__ == '__main__':
    sys.exit(main())
