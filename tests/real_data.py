"""Where real data lie: `data/` of the checkout, or unpacked from a copy kept beside it."""

import atexit
import functools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@functools.cache
def real_data_root() -> Path:
    """The folder to look for data sets in; tests that find theirs absent there skip."""
    unpack = ROOT.parent / 'shared' / 'data' / 'unpack.py'
    if (ROOT / 'data').is_dir() or not unpack.is_file():
        return ROOT / 'data'
    folder = tempfile.mkdtemp(prefix='bce3s-data-')
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    subprocess.run([sys.executable, unpack, '--out', folder], check=True, stdout=subprocess.DEVNULL)
    return Path(folder)
