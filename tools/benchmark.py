"""Speed against the reference implementation: ``python tools/benchmark.py [SECTION ...]``."""

import sys
from pathlib import Path

# Runs from a checkout, without installation.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.command import main

if __name__ == '__main__':
    sys.exit(main())
