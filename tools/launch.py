"""What ``dist_train.sh`` and ``dist_test.sh`` share: ``launch.py TOOL GPUS [arguments]``."""

import sys
from pathlib import Path

# Runs from a checkout, without installation.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bce3s.launcher import main

if __name__ == '__main__':
    sys.exit(main())
