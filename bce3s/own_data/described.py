"""What was found and chosen, as text for a person."""

from __future__ import annotations

from mmengine.config import Config

from bce3s.own_data.found import FoundImages
from bce3s.own_data.settings import Facts, Settings
from bce3s.wording import counted


def described(found: FoundImages, facts: Facts, settings: Settings, cfg: Config) -> str:
    """What was found and chosen, in one block of text."""
    sums = {split: len(images) for split, images in found.splits.items()}
    parts = ', '.join(f'{split} {number:,}' for split, number in sums.items())
    made = ' (held out of the training images)' if 'val' in found.made else ''
    both = '' if not cfg.train_cfg.get('finetune_epochs') else f' + {settings.finetune_epochs}'
    steps = -(-facts.images // settings.batch_size)
    device = 'a GPU' if facts.device == 'cuda' else 'no GPU'
    lines = [
        f'{found.root}: {counted(facts.classes, "class", "classes")}, '
        f'{counted(sum(sums.values()), "image")}, {facts.side} pixels a side (median); '
        f'{parts}{made}',
        f'  network    {settings.network} at {settings.size} x {settings.size} ({device})',
        f'  batch      {settings.batch_size}, {counted(steps, "step")} an epoch',
        f'  epochs     {settings.epochs}{both}, {counted(steps * settings.epochs, "step")} in the '
        'first stage',
        f'  rate       {settings.lr:g}'
        + (f', second stage {settings.finetune_lr:g}' if both else '')
        + f'; resample {settings.resample:g}, beta {settings.beta:g}',
        '  augment    ' + ', '.join(op['type'].removeprefix('Batch') for op in settings.augment),
        '  change with --cfg-options own_data.epochs=N own_data.size=PIXELS own_data.network=NAME '
        'own_data.batch_size=N',
        *(f'  note: {note}' for note in notes_on(found)),
    ]
    return '\n'.join(lines)


def notes_on(found: FoundImages) -> list[str]:
    """What was noted, and classes that are too rare to be measured."""
    train, val = found.counts('train'), found.counts('val')
    alone = [name for name, n in zip(found.classes, val, strict=True) if not n]
    few = [name for name, n in zip(found.classes, train, strict=True) if n < 4]
    notes = list(found.notes)
    if alone:
        notes.append(f'Without a validation image, so not measured: {_some(alone)}.')
    if few:
        notes.append(f'With 3 training images or fewer: {_some(few)}.')
    return notes


def _some(names: list[str], most: int = 10) -> str:
    more = f' and {len(names) - most:,} more' if len(names) > most else ''
    return ', '.join(names[:most]) + more
