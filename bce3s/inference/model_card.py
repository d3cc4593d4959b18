"""``MODEL_CARD.md``: what an exported model is, from what is known of it and nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from bce3s.datasets.long_tailed import SPLITS
from bce3s.evaluation.multi_label_report import decisions_sentence
from bce3s.evaluation.rejection_scores import MAX_LOGIT
from bce3s.evaluation.report import rejection_sentence
from bce3s.tables import escaped, percent
from bce3s.wording import counted

if TYPE_CHECKING:
    from jinja2 import Template

FOLDED = 200  # classes; more are folded
FEW_IMAGES = 100  # of a split, below which its figures are called uncertain
UNKNOWN = 'unknown'


class Raw(str):
    """Markdown that is written as it is; every other text in the card is escaped."""


def format_card(facts: dict[str, Any]) -> str:
    """The card of :func:`~bce3s.inference.model_facts.model_facts` with ``files``. Its front matter
    is that of the Hugging Face Hub's model cards.
    """
    results = facts['results'] or {}
    pairs = zip(results.get('per_class') or (), facts['classes'], strict=False)
    accuracies = [(accuracy, name) for accuracy, name in pairs if accuracy is not None]
    return _template().render(
        facts,
        front=Raw(_front_matter(facts, results)),
        rows=[_row(split, facts, results) for split in ('all', *SPLITS)],
        rare=sum(count < 5 for count in facts['class_counts']),
        never=sum(accuracy == 0 for accuracy, _ in accuracies),
        worst=min(accuracies, default=None, key=lambda pair: pair[0]),
        folded=FOLDED,
        few_images=FEW_IMAGES,
        max_logit=MAX_LOGIT,
        several='multilabel' in facts,
        threshold_sentence=_threshold_sentence(facts),
    )


def _threshold_sentence(facts: dict[str, Any]) -> str:
    if facts.get('decisions'):
        return decisions_sentence(facts)
    return rejection_sentence(facts['rejection']) if facts['rejection'] else ''


def _row(split: str, facts: dict[str, Any], results: dict[str, Any]) -> dict[str, Any]:
    """Of ``all`` classes, or those of a split."""
    inside = [split in ('all', name) for name in facts['splits']]
    counts = [n for n, own in zip(facts['class_counts'], inside, strict=True) if own]
    tested = results.get('images_per_class')
    ends = f'{min(counts, default=0):,}', f'{max(counts, default=0):,}'
    return dict(
        split=split,
        classes=len(counts),
        training=sum(counts),
        span='-' if not counts else ends[0] if len({*ends}) == 1 else ' to '.join(ends),
        images=tested and sum(n for n, own in zip(tested, inside, strict=True) if own),
        error=None if 'multilabel' in facts else standard_error(inside, results),
    )


def standard_error(inside: Sequence[bool], results: dict[str, Any]) -> float | None:
    r"""Of a mean of accuracies per class, in points, as the test images were drawn:

        ``100 / K sqrt(sum_k p_k (1 - p_k) / n_k)`` with ``p_k = (x_k + 2) / (n_k + 4)``

    x_k right ones of n_k images; p_k as of Agresti and Coull (The American Statistician 52, 1998),
    by whom a class that is always right is not certain to be so. None: the numbers are not known.
    """
    counts, accuracies = results.get('images_per_class'), results.get('per_class')
    if counts is None or accuracies is None:
        return None
    used = [
        ((n * accuracy / 100 + 2) / (n + 4), n)
        for n, accuracy, own in zip(counts, accuracies, inside, strict=True)
        if own and n and accuracy is not None
    ]
    return 100 / len(used) * math.sqrt(sum(p * (1 - p) / n for p, n in used)) if used else None


def _front_matter(facts: dict[str, Any], results: dict[str, Any]) -> str:
    import yaml

    front: dict[str, Any] = dict(
        pipeline_tag='image-classification',
        tags=['long-tailed-recognition', 'image-classification'],
    )
    if 'repo' in facts:
        front['library_name'] = 'bce3s'
    else:
        front['tags'].append('onnx')
    if results.get('all') is not None:
        data = dict(name=results['dataset'], type=results['dataset'], split=results['split'])
        names = {'all': 'Accuracy, mean over classes', 'accuracy': 'Accuracy, all images alike'}
        kind = 'accuracy'
        if 'multilabel' in facts:
            names = {'all': 'mAP, mean over classes', 'micro_ap': 'Micro AP'}
            kind = 'mean_average_precision'
        metrics = [
            dict(type=kind, name=name, value=round(results[key], 2))
            for key, name in names.items()
            if results.get(key) is not None
        ]
        result = dict(task=dict(type='image-classification'), dataset=data, metrics=metrics)
        front['model-index'] = [dict(name=facts['name'], results=[result])]
    return yaml.safe_dump(front, sort_keys=False, allow_unicode=True)


def _written(value: Any) -> str:
    """In Markdown; what is not known is said to be."""
    if isinstance(value, Raw):
        return value
    return UNKNOWN if value is None or value == '' else escaped(value)


@cache
def _template() -> Template:
    from jinja2 import Environment

    environment = Environment(trim_blocks=True, lstrip_blocks=True, finalize=_written)
    environment.filters |= dict(
        counted=counted,
        percent=percent,
        raw=Raw,
        number=lambda value: UNKNOWN if value is None else f'{value:,}',
        numbers=lambda values: ', '.join(f'{value:g}' for value in values),
    )
    text = resources.files('bce3s.inference').joinpath('model_card.md.j2')
    return environment.from_string(text.read_text(encoding='utf-8'))
