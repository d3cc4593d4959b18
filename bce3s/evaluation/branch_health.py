"""What a run says of its contrastive branch, from rows of ``contrastive_health`` by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

INERT = 0.01  # share of the gradient below which the branch counts as inert


def inert_from(history: Sequence[Mapping[str, float]]) -> int | None:
    """The epoch from which to the last one the branch was inert; None: it lives.

    Args:
        history: rows with ``epoch`` and ``share``, the branch's part of the gradient that reaches
            the features.

    >>> inert_from([dict(epoch=1, share=0.2), dict(epoch=2, share=0.001), dict(epoch=3, share=0.0)])
    2
    """
    start = None
    for row in reversed(history):
        if row['share'] >= INERT:
            break
        start = int(row['epoch'])
    return start


def health_sentence(history: Sequence[Mapping[str, float]]) -> str:
    """Whether the branch lives, and the figures of the last row, for a log and a report.

    >>> row = dict(epoch=4, share=0.25, cos_own=0.9, cos_other=0.1, rank=31.0)
    >>> health_sentence([row])[:49]
    'Contrastive branch: alive (epoch 4: 25 % of the g'
    """
    row, start = history[-1], inert_from(history)
    state = 'alive' if start is None else f'inert from epoch {start}'
    remedies = '' if start is None else ' Remedies: docs/contrastive.md.'
    return (
        f'Contrastive branch: {state} (epoch {row["epoch"]:.0f}: {100 * row["share"]:.2g} % of the '
        f'gradient that reaches the features, cosine with the bank {row["cos_own"]:.3f} to the own '
        f'and {row["cos_other"]:.3f} to other classes, effective rank of the bank '
        f'{row["rank"]:.1f}).{remedies}'
    )
