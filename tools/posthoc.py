#!/usr/bin/env python
"""What can be mended after the training: ``python tools/posthoc.py RUN``."""

import sys
from pathlib import Path

# Runs from a checkout, without installation.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bce3s.posthoc_command import main

if __name__ == '__main__':
    sys.exit(main())
