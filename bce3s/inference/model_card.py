"""``MODEL_CARD.md``: what an exported model is, from what is known of it and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bce3s.datasets.long_tailed import SPLITS
from bce3s.inference.card_results import limits_text, rejection_text, results_text
from bce3s.inference.card_text import UNKNOWN, known, listed
from bce3s.inference.card_usage import usage
from bce3s.tables import escaped, markdown_table, percent
from bce3s.wording import counted

FOLDED = 200  # classes; more are folded


def format_card(facts: dict[str, Any]) -> str:
    """The card of :func:`~bce3s.inference.model_facts.model_facts` with ``files``."""
    sections = (
        ('What it is', _what(facts)),
        ('How to use it', usage(facts)),
        ('Training data', _data(facts)),
        ('How it was trained', _training(facts)),
        ('Results', results_text(facts)),
        ('None of these', rejection_text(facts)),
        ('Use and limits', limits_text(facts)),
        ('Files', _files(facts)),
    )
    parts = [f'# {escaped(facts["name"])}, seed {known(facts["training"]["seed"])}']
    for title, text in sections:
        parts += [f'## {title}', text]
    return '\n\n'.join(parts) + '\n'


# ------------------------------------------------------------ what it is
def _what(facts: dict[str, Any]) -> str:
    net, given, norm = facts['network'], facts['input'], facts['normalisation']
    colour = {1: 'grey', 3: 'RGB'}.get(given['channels'], f'{given["channels"]} channels')
    losses = ', '.join(f'{loss} ({name})' for name, loss in net['losses'].items())
    pad = f', after {norm["pad"]} black pixels on each side' if norm['pad'] else ''
    return listed(
        [
            f'An image classifier of {counted(len(facts["classes"]), "class")} for long-tailed '
            f'data: {net["backbone"]} and a linear classifier on {net["features"]} features, '
            f'{net["parameters"]:,} parameters, float32.',
            f'Trained with {losses or "losses that are not recorded"}.',
            f'Input `{given["name"]}`: uint8 (N, {given["channels"]}, {given["height"]}, '
            f'{given["width"]}), {colour}, any N. The normalisation is inside (mean '
            f'{_numbers(norm["mean"])}, standard deviation {_numbers(norm["std"])} of [0, 1]'
            f'{pad}). {_colours(given)}',
            f'Output `{facts["output"]["name"]}`: float32 (N, {len(facts["classes"])}), one logit '
            f'a class; the {_score(facts)} makes a score of it.',
        ]
    )


def _colours(given: dict[str, Any]) -> str:
    """How an image of another kind becomes 8-bit RGB."""
    used = (
        f'values of more than 8 bits are shifted right by {given["bits"] - 8} bits, at most 255'
        if given['bits']
        else 'of more than 8 bits the upper 8 are kept of those that the image uses'
    )
    return f'Transparent parts show the ground ({_numbers(given["ground"])}); {used}.'


def _numbers(values: Sequence[float]) -> str:
    return ', '.join(f'{value:g}' for value in values)


def _score(facts: dict[str, Any]) -> str:
    sigmoid = facts['output']['score'] == 'sigmoid'
    return 'sigmoid of each logit' if sigmoid else 'softmax over the logits'


# ------------------------------------------------------------ data
def _data(facts: dict[str, Any]) -> str:
    counts, training = facts['class_counts'], facts['training']
    bounds, subset = facts['thresholds'], training['subset'] or {}
    rule = ''
    if subset.get('imbalance_factor') is not None:
        rule = (
            f', made long-tailed ({escaped(subset.get("imbalance", "exp"))}, imbalance factor '
            f'{subset["imbalance_factor"]:g}, rule {escaped(subset.get("rule"))})'
        )
    hashed = f'list {escaped(subset["list"])}' if subset.get('list') else 'images and labels'
    digest = (
        f' SHA-256 of the {hashed}: {escaped(subset["sha256"])}.' if subset.get('sha256') else ''
    )
    rows = []
    for split in SPLITS:
        own = _of(split, facts, counts)
        rows.append([split.capitalize(), f'{len(own):,}', f'{sum(own):,}', _span(own)])
    return '\n\n'.join(
        [
            f'{known(training["dataset"])}{rule}: {sum(counts):,} training images of '
            f'{counted(len(counts), "class")}, {max(counts):,} to {min(counts):,} a class.'
            f'{digest} The licence of the data is not recorded here.',
            f'Many are the classes with more than {bounds["many"]} training images, Medium those '
            f'with {bounds["few"]} to {bounds["many"]}, Few those with fewer.',
            markdown_table(['Split', 'Classes', 'Training images', 'Images a class'], rows),
            _class_list(facts),
        ]
    )


def _of(split: str, facts: dict[str, Any], values: Sequence[Any]) -> list[Any]:
    return [v for v, s in zip(values, facts['splits'], strict=True) if s == split]


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts, default=0), max(counts, default=0)
    return ('-' if not counts else f'{low:,}') if low == high else f'{low:,} to {high:,}'


def _class_list(facts: dict[str, Any]) -> str:
    header = ['Class', 'Split', 'Training images']
    columns = [
        map(escaped, facts['classes']),
        (split.capitalize() for split in facts['splits']),
        (f'{count:,}' for count in facts['class_counts']),
    ]
    accuracies = (facts['results'] or {}).get('per_class')
    if accuracies:
        header.append('Accuracy')
        columns.append(map(percent, accuracies))
    table = markdown_table(header, list(zip(*columns, strict=True)), left=2)
    if len(facts['classes']) <= FOLDED:
        return table
    number = f'{len(facts["classes"]):,}'
    return f'<details><summary>All {number} classes</summary>\n\n{table}\n\n</details>'


# ------------------------------------------------------------ training
def _training(facts: dict[str, Any]) -> str:
    t = facts['training']
    stage = f', in stage {t["stage"]}' if t['stage'] else ''
    start = (
        f'started from the weights {escaped(t["started_from"])}'
        if t['started_from']
        else 'from scratch, no other weights'
    )
    versions = t['versions'] or {}
    named = escaped(', '.join(f'{name} {version}' for name, version in versions.items()))
    lines = [
        f'config {escaped(t["config"])}, seed {known(t["seed"])}'
        + (f', SHA-256 of the config {escaped(t["config_sha256"])}' if t['config_sha256'] else ''),
        f'epoch {known(t["epoch"])} of {known(t["max_epochs"])}{stage}; {start}',
        f'checkpoint {escaped(facts["checkpoint"]["name"])}, written {known(t["date"])}, SHA-256 '
        f'{facts["checkpoint"]["sha256"]}',
        f'device {known(t["device"])}, backbone in {known(t["precision"])}',
        f'versions: {named or UNKNOWN}',
    ]
    if t['skipped_steps']:
        lines.append(f'{t["skipped_steps"]} training steps were not finite and were left out')
    return listed(lines)


# ------------------------------------------------------------ files
def _files(facts: dict[str, Any]) -> str:
    rows = [
        [
            entry['file'],
            entry['format'],
            f'{entry["bytes"] / 1e6:.2f}',
            f'{entry["largest_difference"]:.1e} of {entry["largest_logit"]:.3g}',
            f'{entry["same_top1"]} of {entry["compared"]}',
            f'`{entry["sha256"]}`',
        ]
        for entry in facts['files']
    ]
    header = ['File', 'Format', 'MB', 'Largest difference of logits', 'Same class', 'SHA-256']
    versions = ', '.join(f'{name} {version}' for name, version in facts['versions'].items())
    sources = escaped(', '.join(sorted({entry['compared_on'] for entry in facts['files']})))
    return '\n\n'.join(
        [
            f'Compared with the network that was trained, in float32 on a CPU ({sources}):',
            markdown_table(header, rows, left=2),
            f'Made with {versions}. `model.json` has the classes and what else a program needs.',
        ]
    )
