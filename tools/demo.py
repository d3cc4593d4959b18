#!/usr/bin/env python
"""``bce3s demo`` from a checkout, without installation."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bce3s.inference.demo import main

if __name__ == '__main__':
    sys.exit(main())
