#!/usr/bin/env python
"""A page of one run, or of several side by side: ``python tools/report.py RUN [RUN ...]``."""

import sys
from pathlib import Path

# Runs from a checkout, without installation.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bce3s.page.command import main

if __name__ == '__main__':
    sys.exit(main())
