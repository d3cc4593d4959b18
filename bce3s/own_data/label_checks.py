"""What can be told of classes without a model: how many images they have, how they are called, and
whether something that is no content gives them away.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from bce3s.own_data.found import FoundImages
from bce3s.own_data.thumbnails import Finding, Thumbnails, if_any
from bce3s.wording import counted

NONE = 'none of these'  # what predictions call an image of no class
FEW = 5  # training images below which little can be learnt
GREY = 4.0  # chroma below which a picture is grey
LEAST = 3  # images of a class of which something is said in the mean
APART = 3.0  # how many times larger the pictures of a class are than those of the others

LEFTOVERS = re.compile(  # as _key() writes them
    '[0-9]*(unknown|background|noneofthese|misc|miscellaneous|others?|rest|various|unsorted|unlabell?ed|unclassified|untitled|'
    '(untitled|new)folder|te?mp|todo|none|na|nan|null|backup|trash|deleted|'
    'neuerordner|sonstiges?|unbekannt|nouveaudossier|autres|inconnu)'
)
_COPY = re.compile(r'^(copy of|kopie von) |([ _-]+(copy|kopie))?([ _]?\([0-9]+\))?$', re.IGNORECASE)


# ------------------------------------------------------------------------------------------ counts
def few_images(classes: Sequence[str], counts: Sequence[int]) -> list[Finding]:
    """Classes with fewer than ``FEW`` training images, the rarest first."""
    rare = sorted((n, k) for k, n in enumerate(counts) if n < FEW)
    with_one, with_none = (sum(n == few for n, _ in rare) for few in (1, 0))
    parts = [f'{with_one:,} of them one only'] if with_one else []
    parts += [f'{with_none:,} none'] if with_none else []
    told = f' ({", ".join(parts)})' if parts else ''
    return if_any(
        'few_images',
        [f'{classes[k]}: {counted(n, "image")}' for n, k in rare],
        f'{counted(len(rare), "class has", "classes have")} under {FEW} training images{told}: '
        'collect more, merge or remove such classes, or expect little of them.',
    )


def unmeasured(classes: Sequence[str], counts: Sequence[int]) -> list[Finding]:
    """Classes without a validation image."""
    absent = [name for name, n in zip(classes, counts, strict=True) if not n]
    return if_any(
        'no_validation',
        absent,
        f'{counted(len(absent), "class has", "classes have")} no validation image: how well such a '
        'class is recognised will not be known. Give each at least one.',
    )


def together(found: FoundImages) -> list[Finding]:
    """Of images with several labels: classes that the same training images have."""
    train = found.splits['train']
    alike: dict[tuple[int, ...], list[str]] = {}
    for k, name in enumerate(found.classes):
        alike.setdefault(tuple(label[k] for _, label in train), []).append(name)
    groups = [names for names in alike.values() if len(names) > 1]
    return if_any(
        'same_labels',
        [' = '.join(map(repr, names)) for names in groups],
        f'{counted(len(groups), "group")} of classes that the same training images have: nothing '
        'tells them apart. Make one class of each, or add images that have one of them only.',
    )


# ------------------------------------------------------------------------------------------- names
def doubtful_names(classes: Sequence[str]) -> list[Finding]:
    """Classes that may be the same one written twice, and those that are no class."""
    twins = twin_names(classes)
    like = [name for name in classes if name.casefold() == NONE]
    rest = [name for name in classes if name not in like]
    leftovers = [name for name in rest if LEFTOVERS.fullmatch(_key(_COPY.sub('', name)))]
    return [
        *if_any(
            'twin_names',
            [f'{first!r} and {second!r}' for first, second in twins],
            f'{counted(len(twins), "pair")} of classes may be one class written in two ways: if '
            'so, put their pictures together.',
        ),
        *if_any(
            'rejection_name',
            list(map(repr, like)),
            f'{counted(len(like), "class is", "classes are")} called like the answer to a picture '
            'of no class: rename it, or predictions are hard to read.',
        ),
        *if_any(
            'leftover_names',
            list(map(repr, leftovers)),
            f'{counted(len(leftovers), "class is", "classes are")} called like a collection of '
            'leftovers: sort or remove its pictures. A model needs none to say "none of these", '
            'its threshold does that.',
        ),
    ]


def twin_names(classes: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of names that differ in capitals, blanks, signs, Unicode form, a plural's ending, zeros
    before a number, or in ``- copy`` and ``(2)`` only.
    """
    alike: dict[str, list[str]] = {}
    for name in classes:
        for key in {_key(name), _key(_COPY.sub('', name))} - {''}:
            alike.setdefault(key, []).append(name)
    pairs = {pair for names in alike.values() for pair in combinations(sorted(names), 2)}
    for key, names in alike.items():
        plurals = [f'{key}s', f'{key}es', *([f'{key[:-1]}ies'] if key.endswith('y') else [])]
        for plural in plurals if key.isalpha() else []:
            pairs |= {(min(a, b), max(a, b)) for a in names for b in alike.get(plural, ())}
    return sorted(pairs)


def _key(name: str) -> str:
    folded = unicodedata.normalize('NFKC', name).casefold()
    if folded.strip().isdecimal():
        return folded.strip().lstrip('0') or '0'
    return re.sub(r'[\s_.-]+', '', folded) or folded


# ---------------------------------------------------------------------------- what gives them away
def odd_classes(
    classes: Sequence[str], labels: NDArray[np.integer], looks: Thumbnails
) -> list[Finding]:
    """Classes whose pictures have another colouring or size than all others: the model may learn
    that instead of what they show.
    """
    read = looks.read & (looks.spread > 0)
    labels, grey = labels[read], (looks.chroma < GREY)[read]
    sides = looks.sides[read].max(axis=1, initial=0)
    totals = np.bincount(labels, minlength=len(classes))
    greys = np.bincount(labels[grey], minlength=len(classes))
    return [
        *_grey_classes(classes, totals, greys),
        *_sized_classes(classes, labels, sides, totals),
    ]


def _grey_classes(
    classes: Sequence[str], totals: NDArray[np.int64], greys: NDArray[np.int64]
) -> list[Finding]:
    others, other_greys = totals.sum() - totals, greys.sum() - greys
    enough = (totals >= LEAST) & (others >= LEAST)
    share, other = greys / np.maximum(totals, 1), other_greys / np.maximum(others, 1)
    found = []
    for kind, odd in (
        ('grey', enough & (share >= 0.9) & (other < 0.5)),
        ('coloured', enough & (share <= 0.1) & (other >= 0.9)),
    ):
        named = np.flatnonzero(odd).tolist()
        found += if_any(
            f'{kind}_class',
            [f'{classes[k]}: {greys[k]:,} of {totals[k]:,} are grey' for k in named],
            f'{counted(len(named), "class is", "classes are")} almost all {kind}, the other '
            'pictures are not: the model may learn that. Make all pictures grey, or collect '
            'others.',
        )
    return found


def _sized_classes(
    classes: Sequence[str],
    labels: NDArray[np.integer],
    sides: NDArray[np.integer],
    totals: NDArray[np.int64],
) -> list[Finding]:
    known = np.flatnonzero(totals >= LEAST).tolist()
    if len(known) < 3:  # of two nobody knows which is the odd one
        return []
    order = np.argsort(labels, kind='stable')
    ends = np.cumsum(totals)
    medians = {k: float(np.median(sides[order[ends[k] - totals[k] : ends[k]]])) for k in known}
    usual = float(np.median(list(medians.values())))
    odd = [k for k in known if not usual / APART < medians[k] < usual * APART]
    return if_any(
        'sizes',
        [f'{classes[k]}: {medians[k]:,.0f} pixels' for k in odd],
        f'{counted(len(odd), "class has", "classes have")} pictures of another size than the usual '
        f'{usual:,.0f} pixels (longer side, median): the model may learn how sharp they are. '
        'Resize them alike, or collect others.',
    )
