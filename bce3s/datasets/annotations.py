"""iNaturalist's annotations (JSON in the format of COCO) as lines ``path label``.

Format: https://github.com/visipedia/inat_comp/tree/master/2018. One line an image, in the order of
``images``: ``train_val2018/Plantae/7477/HASH.jpg 7477``, the category's id being the label. The
published lists of Kang et al. (arXiv 1910.09217) have this order and form, so that whoever calls
this compares the result with their checksum.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

from bce3s.errors import BCE3SError

LARGEST_FILE = 1 << 30  # bytes; the training set of 2018 has about a hundred million


def list_of_annotations(path: Path, num_classes: int) -> bytes:
    """The list that a JSON file of annotations describes.

    Args:
        path: an object with ``images`` (each with ``id`` and ``file_name``) and ``annotations``
            (each with ``image_id`` and ``category_id``), one annotation an image.
        num_classes: categories are 0..num_classes-1.

    Raises:
        BCE3SError: the file cannot be read or is no JSON; or an image without a category, a
            category out of range, a file name that is twice there or leads elsewhere.
    """
    try:
        content = json.loads(path.read_bytes())
        images, annotations = content['images'], content['annotations']
        categories = {each['image_id']: each['category_id'] for each in annotations}
        labels = {each['file_name']: categories[each['id']] for each in images}
        ids = {each['id'] for each in images}
        sound = len(ids) == len(labels) == len(images) == len(categories) == len(annotations) > 0
        if not sound or not all(_fine(*each, num_classes) for each in labels.items()):
            raise ValueError('an image or annotation is twice there, out of range or misnamed')
        return ''.join(f'{name} {label}\n' for name, label in labels.items()).encode()
    except OSError as error:
        raise BCE3SError(f'{path} cannot be read ({error.strerror}).') from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BCE3SError(
            f'{path} does not hold the annotations of one class an image '
            f'({type(error).__name__}: {error}): fetch it again.'
        ) from error


def _fine(name: str, label: int, num_classes: int) -> bool:
    """Whether a line of these is read back as it is, and leads into the folder of the data set."""
    path = PurePosixPath(name)
    inside = bool(path.parts) and not path.is_absolute() and '..' not in path.parts
    whole = name.isprintable() and name.strip() == name
    return inside and whole and type(label) is int and 0 <= label < num_classes
