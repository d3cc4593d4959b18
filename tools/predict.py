#!/usr/bin/env python
"""The classes of images, or "none of these": ``python tools/predict.py RUN PATH [--out FILE]``."""

import sys
from pathlib import Path

# Runs from a checkout, without installation.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bce3s.inference.predict_command import main

if __name__ == '__main__':
    sys.exit(main())
