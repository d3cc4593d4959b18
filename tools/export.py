#!/usr/bin/env python
"""A trained network as ONNX, TorchScript or torch.export: ``python tools/export.py RUN``."""

import sys
from pathlib import Path

# Runs from a checkout, without installation.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bce3s.inference.export_command import main

if __name__ == '__main__':
    sys.exit(main())
