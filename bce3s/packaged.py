"""Where the configs and manifests are: beside the package in a checkout, inside it in a wheel."""

from pathlib import Path

_HERE = Path(__file__).resolve().parent


def _folder(name: str) -> Path:
    inside = _HERE / name
    return inside if inside.is_dir() else _HERE.parent / name


CONFIGS = _folder('configs')
DATA_LISTS = _folder('data_lists')
OWN_IMAGES = CONFIGS / 'bce3s' / 'my_folder.py'
OWN_IMAGES_FROZEN = CONFIGS / 'bce3s' / 'my_folder_frozen.py'


def config_file(name: str) -> str:
    """The path of a config: ``name`` where there is such a file, else that of the package's own,
    such as ``configs/bce3s/digits.py``; ``name`` where there is neither.
    """
    if Path(name).exists():
        return name
    own = CONFIGS / name.removeprefix('configs/')
    return str(own) if own.is_file() else name
