"""What a model card says of how well the model does, and where it does not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bce3s.datasets.long_tailed import SPLITS
from bce3s.evaluation.report import MOST_FALSE
from bce3s.inference.card_text import UNKNOWN, known, listed
from bce3s.inference.precisions import precisions_text
from bce3s.tables import escaped, markdown_table, percent
from bce3s.wording import counted

FEW_IMAGES = 100  # of a split, below which its figures are called uncertain


# ------------------------------------------------------------ results
def results_text(facts: dict[str, Any]) -> str:
    """Accuracy by split, on how many images, and how uncertain."""
    results = facts['results']
    if results is None:
        return f'The accuracy of this model is unknown. {escaped(facts["no_results"])}'
    if results.get('all') is None:
        return (
            f'The accuracy of this model is unknown: the report of the run is of epoch '
            f'{known(results["report_epoch"])}, this model of epoch {known(results["epoch"])}, '
            'which was not validated.'
        )
    header = ['Split', 'Classes', 'Images', 'Accuracy', 'uncertain by']
    rows = [_result_row(name, facts) for name in ('all', *SPLITS)]
    return '\n\n'.join([_how_measured(results), markdown_table(header, rows), _uncertainty(facts)])


def _result_row(name: str, facts: dict[str, Any]) -> list[str]:
    results = facts['results']
    inside = [name in ('all', split) for split in facts['splits']]
    row = [name.capitalize(), f'{sum(inside):,}']
    images, error = _images(inside, results), standard_error(inside, results)
    row += [UNKNOWN if images is None else f'{images:,}', percent(results[name])]
    return [*row, UNKNOWN if error is None else f'± {2 * error:.1f}']


def _images(inside: Sequence[bool], results: dict[str, Any]) -> int | None:
    counts = results['images_per_class']
    if counts is None:
        return None
    return sum(n for n, own in zip(counts, inside, strict=True) if own)


def standard_error(inside: Sequence[bool], results: dict[str, Any]) -> float | None:
    r"""Of a mean of accuracies per class, in points, as the test images were drawn:

        ``100 / K sqrt(sum_k p_k (1 - p_k) / n_k)`` with ``p_k = (x_k + 2) / (n_k + 4)``

    x_k right ones of n_k images; p_k as of Agresti and Coull (The American Statistician 52, 1998),
    by whom a class that is always right is not certain to be so. None: the numbers are not known.
    """
    counts, accuracies = results['images_per_class'], results.get('per_class')
    if counts is None or accuracies is None:
        return None
    used = [
        (n, accuracy)
        for n, accuracy, own in zip(counts, accuracies, inside, strict=True)
        if own and n and accuracy is not None
    ]
    if not used:
        return None
    shares = [((n * accuracy / 100 + 2) / (n + 4), n) for n, accuracy in used]
    return 100 / len(used) * math.sqrt(sum(p * (1 - p) / n for p, n in shares))


def _how_measured(results: dict[str, Any]) -> str:
    where = f'{known(results["dataset"])}, its {known(results["split"])} images'
    chosen = results.get('selection')
    text = f'On {where}, after epoch {results["epoch"]}, without test-time augmentation.'
    if chosen == 'last':
        text += ' It is the last epoch: no epoch was chosen by these figures.'
    elif chosen:
        text += f' The epoch was chosen as: {escaped(chosen)}.'
        if chosen.startswith('best on'):
            text += ' Figures chosen so are higher than on new data.'
    else:
        text += (
            f' The figures are from the history of the report, which is of epoch '
            f'{results["report_epoch"]}.'
        )
    if told := precisions_text(results):
        text += f' {escaped(told)}'
    if results.get('accuracy') is not None:
        text += f' Plain accuracy, all images alike: {percent(results["accuracy"])} %.'
    return text


def _uncertainty(facts: dict[str, Any]) -> str:
    results, text = facts['results'], 'Percent, means of the accuracies per class.'
    if results['images_per_class'] is None:
        return f'{text} How many images each split has there is not known.'
    text += (
        " 'Uncertain by' is two standard errors, from the number of images alone: another training "
        'run with another seed differs as well.'
    )
    for split in SPLITS:
        images = _images([s == split for s in facts['splits']], results)
        if 0 < images < FEW_IMAGES:
            text += f' {split.capitalize()} rests on {counted(images, "image")} only.'
    return text


# ------------------------------------------------------------ none of these
def rejection_text(facts: dict[str, Any]) -> str:
    """The threshold, what it was chosen on, and what it rejects wrongly."""
    found = facts['rejection'] or {}
    false, right = found.get('false_rejection') or {}, found.get('accuracy') or {}
    if found.get('threshold') is None:
        return (
            'No threshold was chosen for this checkpoint, so that every image gets one of the '
            'classes, also one that shows none of them.'
        )
    chosen, measured = (known(found.get(key)) for key in ('chosen_on', 'measured_on'))
    folds = ', cross-fitted: chosen on one half of them, measured on the other'
    header, columns = ['Falsely rejected', 'Accepted and right'], [false, right]
    if found.get('cross_fitted') and found.get('at_threshold'):
        header.append('Falsely rejected at this very threshold')
        columns.append(found['at_threshold'])
    rows = [
        [name.capitalize(), *(percent(column.get(name)) for column in columns)]
        for name in ('all', *SPLITS)
    ]
    rule = (
        f'An image whose largest logit is at most {found["threshold"]:.4f} is none of the classes.'
    )
    if facts['threshold'] is None:
        rule += (
            f' This threshold rejects more than {MOST_FALSE:.0f} % of the images of known classes, '
            'so that the program above does not use it.'
        )
    return '\n\n'.join(
        [
            f'{rule} The threshold was chosen on the {chosen} images; the figures are of the '
            f'{measured} images{folds if found.get("cross_fitted") else ""}.',
            markdown_table(['Split', *header], rows),
            'Percent, means of the figures per class. How many images of unknown classes are '
            'accepted was not measured here.',
        ]
    )


# ------------------------------------------------------------ limits
def limits_text(facts: dict[str, Any]) -> str:
    """What it is for and where it fails, as far as the figures tell."""
    t, counts, results = facts['training'], facts['class_counts'], facts['results'] or {}
    data = known(t['dataset'])
    lines = [
        f'It is made to tell the {counted(len(counts), "class")} above apart in images like those '
        f'of {data}. On other images nothing was measured.',
        'The scores were not calibrated: of the answers with a score of 0.9, more or fewer than '
        '90 % may be right.',
    ]
    if t['epoch'] and t['max_epochs'] and t['epoch'] < t['max_epochs']:
        lines.append(f'The training was not at its end: epoch {t["epoch"]} of {t["max_epochs"]}.')
    if not t['started_from']:
        lines.append(f'It was trained from scratch on {counted(sum(counts), "image")}.')
    lines += _rare(facts)
    lines += _weak(facts, results)
    if (results.get('validations') or 0) > 1 and results.get('split') == 'test':
        lines.append(
            f'The test images were looked at {results["validations"]} times in the course of the '
            'training: if settings were chosen by them, the figures are too good for new images.'
        )
    return listed(lines)


def _rare(facts: dict[str, Any]) -> list[str]:
    counts = facts['class_counts']
    rare = sum(n < 5 for n in counts)
    if not rare:
        return []
    verb = 'was' if rare == 1 else 'were'
    return [f'{counted(rare, "class")} {verb} learned from fewer than 5 images.']


def _weak(facts: dict[str, Any], results: dict[str, Any]) -> list[str]:
    lines = []
    if results.get('few') is not None and results.get('many') is not None:
        lines.append(
            f'Rare classes are recognised in {percent(results["few"])} % of their images, frequent '
            f'ones in {percent(results["many"])} %.'
        )
    pairs = zip(results.get('per_class') or [], facts['classes'], strict=False)
    accuracies = [(accuracy, name) for accuracy, name in pairs if accuracy is not None]
    if accuracies:
        never = sum(accuracy == 0 for accuracy, _ in accuracies)
        verb = 'was' if never == 1 else 'were'
        worst, name = min(accuracies, key=lambda pair: pair[0])
        if never:
            lines.append(
                f'{counted(never, "class")} of {len(accuracies):,} {verb} never recognised.'
            )
        else:
            lines.append(f'The worst class is {escaped(name)}: {percent(worst)} %.')
    return lines
