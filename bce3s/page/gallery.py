"""The images behind the figures: sure errors, rare classes, what a threshold gets wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bce3s.evaluation.arrays import as_matrix, row_blocks
from bce3s.evaluation.calibration import Probabilities, Softmax
from bce3s.evaluation.rejection import as_array, rejected
from bce3s.page.calibration import probabilities
from bce3s.page.content import Gallery, Section
from bce3s.page.open_set import rejection_of
from bce3s.page.pictures import Pictures
from bce3s.page.runs import Group, PageRun, left_out, measured
from bce3s.wording import counted

SHOWN = 12  # pictures of a kind
PICTURED = 3  # groups of runs; the others have figures and tables only
RAREST = 6  # classes, where there is no Few class
NAMES = {'sigmoid': 'the sigmoid of the logit', 'softmax': 'the softmax of the logits'}


def gallery(runs: list[PageRun]) -> Section | None:
    """For the first seed of the first groups: sure errors, the hardest images of the rare classes,
    known images that the threshold rejects, and unknown ones that it accepts; None: there are no
    images at hand, or none of these.
    """

    def below(groups: list[Group]) -> str:
        kinds = {NAMES[_kind(group).name] for group in groups}
        return (
            'its class in bold, then what the model calls it and the score, '
            f'{" or ".join(sorted(kinds))}'
        )

    return pictures_section(runs, _galleries, below)


def pictures_section(
    runs: list[PageRun],
    galleries_of: Callable[[Group], list[Gallery]],
    below: Callable[[list[Group]], str],
) -> Section | None:
    """Galleries of the first ``PICTURED`` groups whose first seed has images at hand; None: there
    are no images, or no gallery.

    Args:
        galleries_of: a group.
        below: of the groups that are shown, what stands below each picture.
    """
    groups, notes = measured(runs), left_out(runs)
    having = [group for group in groups if group.runs[0].pictures is not None]
    shown, more = having[:PICTURED], having[PICTURED:]
    galleries = []
    for group in shown:
        run, found = group.runs[0], galleries_of(group)
        for each in found:
            each.title = f'{group.title}: {each.title}' if len(groups) > 1 else each.title
        galleries += found
        for pictures in filter(None, (run.pictures, run.unknown_pictures)):
            notes += pictures.notes(group.title)
    if not galleries:
        return None
    if more:
        names = ', '.join(group.name for group in more)
        notes.append(f'Pictures are shown of {PICTURED} kinds of runs, so of none of {names}.')
    text = (
        f'At most {SHOWN} images of a kind. Below each {below(shown)}. Its file is named where '
        'the pointer rests on it, and in the Markdown beside this page.'
    )
    return Section('pictures', 'Pictures to look at', text, notes=notes, galleries=galleries)


def _kind(group: Group) -> Probabilities:
    return probabilities(group.runs[0]) or Softmax()


def _galleries(group: Group) -> list[Gallery]:
    run, kind = group.runs[0], _kind(group)
    said = Said.of(run.outputs.logits, run.outputs.labels, kind)
    found = [_errors(run, said), _rare(group, said)]
    if (chosen := _thresholds(run)) is not None:
        found.append(_rejected(run, said, *chosen))
        if run.unknown_pictures is not None and np.isfinite(run.unknown.logits).all():
            found.append(_accepted(run, kind, chosen[0]))
    return [one for one in found if one is not None]


def _thresholds(run: PageRun) -> tuple[NDArray[np.float64], str] | None:
    """(K,) of the classes, as predictions use them, or else the uniform one, and what they are;
    None: there is none.
    """
    rejection = rejection_of(run)
    if rejection['groups']:
        what = f'thresholds that reject at most {rejection["rate"]:g} % of known images'
        return as_array(rejection['thresholds']), what
    uniform = rejection['uniform']['threshold']
    if uniform is None:
        return None
    return np.full(len(run.outputs.classes), uniform), f'uniform threshold, {uniform:.2f}'


# ----------------------------------------------------------------------------- what the model says
@dataclass(frozen=True)
class Said:
    """Of N images.

    Attributes:
        labels: (N,) classes. called: (N,) the class with the largest logit.
        largest: (N,) that logit.
        score, own: (N,) log-probability of ``called`` and of the own class: float64, so that two
            that both show as 1.000 still differ.
    """

    labels: NDArray[np.int64]
    called: NDArray[np.int64]
    largest: NDArray[np.float32]
    score: NDArray[np.float64]
    own: NDArray[np.float64]

    @classmethod
    def of(cls, logits: NDArray, labels: NDArray, kind: Probabilities) -> Said:
        """From logits (N, K) and labels (N,), blockwise: no second copy of the logits."""
        parts = []
        for rows in row_blocks(as_matrix('logits', logits)):
            z, y = logits[rows].astype(np.float64), labels[rows]
            each = np.arange(len(z))
            called = z.argmax(axis=1)
            largest, own = z[each, called], z[each, y]
            if kind.name == 'sigmoid':
                best, mine = (-np.logaddexp(0, -values) for values in (largest, own))
            else:
                others = np.exp(z - largest[:, None])
                others[each, called] = 0
                best = -np.log1p(others.sum(axis=1))
                mine = own - largest + best
            parts.append((called, logits[rows].max(axis=1), best, mine))
        return cls(labels, *(np.concatenate(column) for column in zip(*parts, strict=True)))


def surest_errors(said: Said) -> NDArray[np.int64]:
    """Indices of the images with a wrong answer, the highest score of it first."""
    wrong = np.flatnonzero(said.called != said.labels)
    return wrong[np.argsort(-said.score[wrong], kind='stable')]


def hardest_of_rare(
    said: Said, counts: NDArray, rare: NDArray, limit: int = SHOWN
) -> NDArray[np.int64]:
    """Indices of images of rare classes with the lowest score for their own class.

    Classes take turns, the rarest first, so that no class takes all places: first of each its
    hardest image, then the second, up to ``limit``; in the order of the classes, the hardest first.

    Args:
        counts: (K,) training images.
        rare: the classes.
    """
    turns = []
    classes = rare[np.argsort(counts[rare], kind='stable')]
    for rank, k in enumerate(classes):
        images = np.flatnonzero(said.labels == k)
        hardest = images[np.argsort(said.own[images], kind='stable')][:limit]
        turns += [(turn, rank, int(i)) for turn, i in enumerate(hardest)]
    chosen = sorted(turns)[:limit]
    return np.array([i for _, _, i in sorted(chosen, key=lambda c: (c[1], c[0]))], dtype=np.int64)


# --------------------------------------------------------------------------------------- galleries
def _errors(run: PageRun, said: Said) -> Gallery | None:
    found = surest_errors(said)
    caption = (
        f'{_of(len(found), said)} of the {run.outputs.split} set are called a wrong class; the '
        'highest scores first.'
    )
    lines = (_lines(run, said, i) for i in found[:SHOWN])
    return _gallery('The surest errors', caption, run.pictures, found[:SHOWN], lines)


def _rare(group: Group, said: Said) -> Gallery | None:
    run, few = group.runs[0], group.splits == 'few'
    rare = np.flatnonzero(few) if few.any() else group.order[::-1][:RAREST]
    found = hardest_of_rare(said, group.counts, rare)
    theirs = np.isin(said.labels, rare)
    right = int((said.called == said.labels)[theirs].sum())
    what = 'Few classes' if few.any() else f'{counted(len(rare), "class")} of the fewest images'
    caption = (
        f'Of the {what} those with the lowest score for their own class, the rarest class first. '
        f'Of all {counted(int(theirs.sum()), "image")} of these classes {right:,} are called right.'
    )
    lines = (_lines(run, said, i, f'own score {probability(said.own[i])}') for i in found)
    return _gallery('Rare classes: the hardest images', caption, run.pictures, found, lines)


def _rejected(run: PageRun, said: Said, thresholds: NDArray, what: str) -> Gallery | None:
    order = np.argsort(said.largest, kind='stable')
    found = order[rejected(said.largest, thresholds[said.called])[order]]
    right = int((said.called[found] == said.labels[found]).sum())
    caption = (
        f'At the {what}: {_of(len(found), said)} of known classes are "none of these", though '
        f'{right:,} of them would be called right; the lowest logits first.'
    )
    lines = (_lines(run, said, i) for i in found[:SHOWN])
    return _gallery('Known, but rejected', caption, run.pictures, found[:SHOWN], lines)


def _accepted(run: PageRun, kind: Probabilities, thresholds: NDArray) -> Gallery | None:
    unknown, names, pictures = run.unknown, run.outputs.classes, run.unknown_pictures

    def theirs(i: int) -> str:
        """What is known of them: their class, or where a folder has no classes, their file."""
        several = len(unknown.classes) > 1 or not pictures.files
        return unknown.classes[unknown.labels[i]] if several else pictures.name(i)

    # their own classes have no logits: what is said of class 0 as their own is not looked at
    said = Said.of(unknown.logits, np.zeros(len(unknown.logits), np.int64), kind)
    order = np.argsort(-said.score, kind='stable')
    found = order[~rejected(said.largest, thresholds[said.called])[order]]
    caption = (
        f'There {_of(len(found), said)} of unknown classes are taken for one of a '
        'known class; the highest scores first.'
    )
    lines = (
        [theirs(i), f'called {names[said.called[i]]} {probability(said.score[i])}']
        for i in found[:SHOWN]
    )
    return _gallery('Unknown, but accepted', caption, pictures, found[:SHOWN], lines)


def _gallery(
    title: str, caption: str, pictures: Pictures, found: NDArray, lines: Iterable[list[str]]
) -> Gallery | None:
    shown = [pictures.picture(i, *texts) for i, texts in zip(found, lines, strict=True)]
    return Gallery(title, caption, shown) if shown else None


def _lines(run: PageRun, said: Said, i: int, *more: str) -> list[str]:
    """The class of an image, and what it is called."""
    names, own, called = run.outputs.classes, said.labels[i], said.called[i]
    if own == called:
        return [names[own], f'called right {probability(said.score[i])}', *more]
    return [names[own], f'called {names[called]} {probability(said.score[i])}', *more]


def probability(logarithm: float) -> str:
    """Of its logarithm.

    >>> probability(-0.5)
    '0.607'
    """
    return f'{np.exp(logarithm):.3f}'


def _of(some: int, said: Said) -> str:
    return f'{some:,} of {counted(len(said.labels), "image")}'
