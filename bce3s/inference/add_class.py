"""``bce3s add-class``: classes that a trained network does not know yet, from a few images of each.

The network stays as it is; its classifier gets a row a class. Nothing here imports torch before the
arguments are parsed.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bce3s.arguments import add_run, run_tool
from bce3s.errors import BCE3SError
from bce3s.wording import counted, in_order

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import Tensor, nn

    from bce3s.engine.outputs import Outputs
    from bce3s.engine.run_directory import RunDirectory
    from bce3s.inference.new_rows import OldClasses

EXAMPLES = """examples:
  bce3s add-class work_dirs/my_folder new_species/
  bce3s add-class work_dirs/my_folder photos/okapi --out work_dirs/with_okapi

FOLDER holds a folder of images for each new class, or is one such folder; its name is the class's.
"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog='bce3s add-class',
        description='Adds classes to a trained model without training it: a row of the classifier '
        'for each, from the features of its images. The other rows and the network stay as they '
        'are. Writes a new run folder; that of the run is not changed.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run(p)
    p.add_argument('folder', metavar='FOLDER', help='images of the new classes')
    p.add_argument(
        '--out', type=Path, metavar='DIR', help='the new run folder (RUN_plus_CLASS, ...)'
    )
    p.add_argument(
        '--way',
        choices=('fit', 'mean'),
        default='fit',
        help='the direction of a row: fit (default), of a logistic regression against the training '
        'images; mean, of the mean of the images, which takes more from the old classes',
    )
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 if something is missing or wrong."""
    args = parser().parse_args(argv)
    return run_tool(lambda: add_class_tool(args), 'Nothing was written.', args.out or '')


def add_class_tool(args: argparse.Namespace) -> None:
    """Raises BCE3SError where something is missing or wrong."""
    import mmpretrain.models  # noqa: F401

    from bce3s.config import explained
    from bce3s.datasets.parents import FILE as PARENTS
    from bce3s.engine.run_directory import RunDirectory

    run = RunDirectory.open(args.run, args.checkpoint)
    with explained(run.config):
        print(add_classes(run, args.folder, args.out, args.way))
    if (run.folder / PARENTS).is_file():
        print(
            f'Parents are not taken along: copy {run.folder / PARENTS} beside the new checkpoint, '
            'with a row for each new class.'
        )


# ------------------------------------------------------------------------------------ new images
def class_folders(folder: str | Path) -> dict[str, list[str]]:
    """Name of each class -> paths of its images: of the folders in ``folder``, or of itself where
    its images lie in no folder.

    Raises:
        BCE3SError: no such folder, no image, images both in folders and beside them.
    """
    from bce3s.datasets.folders import look_below
    from bce3s.own_data.found import tidy_name

    folder = Path(folder).expanduser().resolve()
    if not folder.is_dir():
        raise BCE3SError(f'{folder} is no folder: give one with a folder of images for each class.')
    images = look_below(folder).images
    loose = [path for path in images if '/' not in path]
    if not images:
        raise BCE3SError(f'{folder} holds no image: it needs a folder of images for each class.')
    if loose and len(loose) < len(images):
        raise BCE3SError(
            f'{folder} holds images ({loose[0]}, ...) beside folders of images '
            f'({os.path.dirname(next(path for path in images if "/" in path))}, ...): it is either '
            'the folder of one class or holds a folder for each.'
        )
    found: dict[str, list[str]] = {}
    for path in images:
        name = folder.name if loose else path.split('/')[0]
        found.setdefault(tidy_name(name), []).append(str(folder / path))
    return {name: found[name] for name in in_order(found)}


def features_of(
    run: RunDirectory, model: nn.Module, meta: dict[str, Any], found: dict[str, list[str]]
) -> tuple[dict[str, list[str]], dict[str, Tensor], list[str]]:
    """Of each class the images that can be read, their features (n, d), and errors."""
    import torch

    from bce3s.inference.inputs import InputSpec, batches

    spec, device = InputSpec.of(run, meta), next(model.parameters()).device
    readable: dict[str, list[str]] = {}
    features: dict[str, Tensor] = {}
    errors: list[str] = []
    for name, paths in found.items():
        parts, readable[name] = [], []
        for batch in batches(paths, spec, 64):
            pairs = zip(batch.names, batch.errors, strict=True)
            readable[name] += [str(path) for path, error in pairs if error is None]
            errors += filter(None, batch.errors)
            if batch.images is not None:
                data = dict(inputs=batch.images.to(device), data_samples={})
                with torch.no_grad():
                    inputs = model.data_preprocessor(data, training=False)['inputs']
                    parts.append(model.features(inputs).float().cpu())
        if not parts:
            raise BCE3SError(
                f'None of the {counted(len(paths), "image")} of {name!r} can be read. The first: '
                f'{errors[-len(paths)]}'
            )
        features[name] = torch.cat(parts)
    return readable, features, errors


# ------------------------------------------------------------------------------------ the new run
def add_classes(
    run: RunDirectory, folder: str | Path, out: str | Path | None = None, way: str = 'fit'
) -> str:
    """Writes a run folder whose model knows the classes of ``folder`` too.

    Args:
        run: whose model has a ``TripartiteHead`` with a ``LinearClassifier``.
        folder: see :func:`class_folders`.
        out: the new run folder; None: that of the run with the names behind its own.
        way: see :data:`bce3s.inference.new_rows.WAYS`.

    Returns:
        What was done, in sentences.

    Raises:
        BCE3SError: another head; images with several labels; a class that the model knows; a class
            of which no image can be read; ``out`` is there and not empty; the training images
            cannot be read.
    """
    from bce3s.engine.outputs import run_outputs
    from bce3s.engine.run_directory import require_one_label
    from bce3s.inference.class_facts import class_facts, several_labels
    from bce3s.inference.new_rows import new_rows
    from bce3s.own_data.found import quoted, tidy_name

    model, meta = run.model()
    require_one_label(several_labels(meta), 'A class cannot be added')
    _check_head(run, model)
    found = class_folders(folder)
    classes, counts = class_facts(run, model, meta)
    known = {tidy_name(name).casefold(): name for name in classes}
    if twice := [name for name in found if name.casefold() in known]:
        raise BCE3SError(
            f'{quoted(twice)}: the model has a class of this name already. Rename the folder, or '
            'train again with the new images.'
        )
    out = Path(out or f'{run.folder.resolve()}_plus_{_short("_".join(found))}').expanduser()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BCE3SError(f'{out} is there already: give another folder with --out.')
    readable, features, errors = features_of(run, model, meta, found)
    rows = new_rows(
        [model.head.classifier.embed(each).double() for each in features.values()],
        old_classes(model, run_outputs(run, 'train')),
        way,
    )
    names = [*classes, *found]
    sizes = [*counts, *map(len, readable.values())]
    cfg, head = _config(run, model, len(names)), _widened(run, model, rows, features, sizes)
    out.mkdir(parents=True, exist_ok=True)
    said = [
        f'{out}: {counted(len(found), "class")} added to {len(classes)}, by {way}: '
        + ', '.join(f'{name} ({counted(len(readable[name]), "image")})' for name in found)
        + '. The old rows of the classifier and the network are unchanged.'
    ]
    if errors:
        said.append(f'Left out: {counted(len(errors), "image")}. The first: {errors[0]}')
    said += _write_data(run, cfg, out, names, readable)
    cfg.work_dir, cfg.load_from, cfg.resume = str(out), None, False
    added = dict(classes=list(found), images=list(map(len, readable.values())), way=way)
    _write_checkpoint(run, cfg, head, meta, names, sizes, added, out)
    said += _write_report(run, head, names, sizes, _note(readable), out)
    return '\n'.join(said)


def _short(text: str) -> str:
    return re.sub(r'[^\w.-]+', '_', text)[:60]


def _check_head(run: RunDirectory, model: nn.Module) -> None:
    from bce3s.models.head import TripartiteHead
    from bce3s.models.linear_classifier import LinearClassifier

    head = model.head
    classifier = getattr(head, 'classifier', None)
    if type(head) is TripartiteHead and type(classifier) is LinearClassifier:
        if classifier.bias is not None:
            return
        what = 'a classifier without a bias'
    else:
        what = f'{type(head).__name__} with {type(classifier).__name__}'
    raise BCE3SError(
        f'The model of {run.folder} has {what}: classes can be added to a TripartiteHead with a '
        'LinearClassifier that has a bias, and to no other. Train it again with the new images.'
    )


def old_classes(model: nn.Module, outputs: Outputs) -> OldClasses:
    """What the outputs of the training images say of the classes that a model knows."""
    import torch

    from bce3s.inference.new_rows import OldClasses

    classifier = model.head.classifier
    features = classifier.embed(torch.from_numpy(outputs.features)).double()
    weight, bias = (torch.from_numpy(v).double() for v in (outputs.weight, outputs.bias))
    length = float(classifier.scale) if classifier.normalize_weight else None
    return OldClasses(features, torch.from_numpy(outputs.labels), weight, bias, length)


def _config(run: RunDirectory, model: nn.Module, size: int) -> Config:
    from copy import deepcopy

    cfg = deepcopy(run.config)

    def widen(node: Any) -> None:
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            if key == 'num_classes' and value == model.head.num_classes:
                node[key] = size
            elif isinstance(value, dict | list | tuple):
                widen(value)

    widen(cfg.model)
    return cfg


def _widened(
    run: RunDirectory,
    model: nn.Module,
    rows: tuple[Tensor, Tensor],
    features: dict[str, Tensor],
    counts: list[int],
) -> nn.Module:
    """The head with the new rows; what else has a row a class gets them too: the bank the feature
    of the last image, centres the mean, anything else what an untrained head has.
    """
    import torch
    from torch.nn import functional as F

    from bce3s.registry import MODELS

    number, cfg = model.head.num_classes, _config(run, model, len(counts)).model.head
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = MODELS.build(cfg).eval()
    target = head.state_dict()
    for name, value in model.head.state_dict().items():
        if target[name].shape == value.shape:
            target[name] = value
        else:
            target[name][:number] = value
    target['class_counts'] = torch.tensor(counts)  # others follow from them
    head.load_state_dict(target)
    weight, bias = (values.float() for values in rows)
    classifier = head.classifier
    with torch.no_grad():
        if classifier.normalize_weight:  # a length that the forward pass does not see
            weight = F.normalize(weight, dim=1) * classifier.weight[:number].norm(dim=1).mean()
        else:
            weight = weight / classifier.scale
        classifier.weight[number:], classifier.bias[number:] = weight, bias / classifier.scale
        if head.contrastive is not None:
            last = torch.stack([values[-1] for values in features.values()])
            labels = torch.arange(number, len(counts))
            head.bank.update(head.projector(last), labels)
        if head.centers is not None:
            head.centers.centers[number:] = torch.stack([v.mean(0) for v in features.values()])
    return head


# ------------------------------------------------------------------------------------ its files
def _write_data(
    run: RunDirectory, cfg: Config, out: Path, names: list[str], readable: dict[str, list[str]]
) -> list[str]:
    """Lists of the images of all splits, the new ones in ``train``, where a run is on image files;
    of another one its data sets stay, and what cannot be done is said.
    """
    from bce3s.datasets.image_files import ImageFiles
    from bce3s.engine.outputs import listed
    from bce3s.engine.run_directory import LOADERS
    from bce3s.own_data.complete import facts_of
    from bce3s.own_data.found import FOLDER, FoundImages, read_facts, write_splits

    datasets = {split: listed(run, split) for split in run.splits}
    if not all(isinstance(dataset, ImageFiles) for dataset in datasets.values()):
        return [
            'The data sets of this run hold no image files: they know the old classes alone, so '
            'predict, export and push work, commands that evaluate on them do not.'
        ]
    splits, called = {}, {}
    for loader, dataset in datasets.items():
        called[loader] = split = str(dataset.metainfo.get('split', loader))
        paths = map(os.path.abspath, dataset.paths)
        splits[split] = list(zip(paths, dataset.labels.tolist(), strict=True))
    first = len(names) - len(readable)
    for label, paths in enumerate(readable.values(), first):
        splits['train'] += [(path, label) for path in paths]
    train, notes = cfg[LOADERS['train']].dataset, []
    if train.get('lists'):
        facts = read_facts(Path(train.lists))
        notes = [*facts['notes'], *(f'{name}: held out of train.' for name in facts['made'])]
    root = Path(train.get('data_root') or '/')
    found = FoundImages(root, names, splits, notes=[*notes, _note(readable)])
    write_splits(out.resolve() / FOLDER, found, facts_of(found))
    kept = ('size', 'resize', 'random_crop', 'bits', 'ground')
    for loader, split in called.items():
        dataset = cfg[LOADERS[loader]].dataset
        cfg[LOADERS[loader]].dataset = dict(
            type='OwnImages',
            data_root=str(root),
            lists=str(out.resolve() / FOLDER),
            split=split,
            **{key: dataset[key] for key in kept if key in dataset},
        )
    return []


def _note(readable: dict[str, list[str]]) -> str:
    each = ', '.join(f'{name!r} ({counted(len(p), "image")})' for name, p in readable.items())
    return f'Added to the trained classifier, of which no image is in val or test: {each}.'


def _write_checkpoint(
    run: RunDirectory,
    cfg: Config,
    head: nn.Module,
    meta: dict[str, Any],
    names: list[str],
    counts: list[int],
    added: dict[str, Any],
    out: Path,
) -> None:
    import torch

    from bce3s.engine.checkpoint import as_json, load_from_disk
    from bce3s.files import written_whole

    weights = {
        name.removeprefix('module.'): value
        for name, value in load_from_disk(run.checkpoint)['state_dict'].items()
    }
    weights |= {f'head.{name}': value.cpu() for name, value in head.state_dict().items()}
    data = dict(meta.get('dataset_meta') or {}, classes=names, class_counts=counts)
    history = [*(meta.get('added_classes') or ()), added]
    meta = dict(meta, dataset_meta=data, added_classes=history)
    meta |= dict(cfg=cfg.pretty_text, experiment=as_json(cfg))
    fits = re.fullmatch(r'(epoch|iter)_\d+\.pth', run.checkpoint.name)
    name = run.checkpoint.name if fits else f'epoch_{meta.get("epoch") or 0}.pth'
    with written_whole(out / name) as file:
        torch.save(dict(meta=dict(meta, iter=meta.get('iter', 0)), state_dict=weights), file)
    with written_whole(out / Path(run.config.filename).name) as file:
        file.write(cfg.pretty_text.encode())


def _write_report(
    run: RunDirectory, head: nn.Module, names: list[str], counts: list[int], note: str, out: Path
) -> list[str]:
    """The run's report with figures measured anew on its evaluation images, which are of the old
    classes, and its thresholds; or a sentence on why there is none.
    """
    import torch

    from bce3s.datasets.long_tailed import Thresholds
    from bce3s.engine.outputs import run_outputs
    from bce3s.evaluation.accuracy import evaluate
    from bce3s.evaluation.report import write_report

    try:
        report = run.report()
        split = next(s for s in (report['split'], 'test', 'val') if s in run.splits)
        outputs = run_outputs(run, split)
    except BCE3SError as error:
        return [f'There is no report and no threshold: {error}']
    with torch.no_grad():
        preds = head.cpu()(torch.from_numpy(outputs.features)).argmax(1)
    limits = Thresholds(**report['thresholds'])
    now = evaluate(outputs.labels, preds, counts, limits)
    before = evaluate(outputs.labels, outputs.logits.argmax(1), outputs.class_counts, limits)
    whole = dict(classes=names, class_counts=counts, other=[], history=[])
    kept = 'The thresholds for "none of these" are those of the run before'
    if rejection := report.get('rejection'):
        rejection = dict(rejection)
        if any(t is not None for t in rejection.get('thresholds') or ()):
            lowest = min(t for t in rejection['thresholds'] if t is not None)
            more = len(counts) - len(rejection['thresholds'])
            rejection['thresholds'] = [*rejection['thresholds'], *[lowest] * more]
            kept += ', the lowest of them for the new classes'
        elif 'thresholds' in rejection:
            rejection['thresholds'] = [None] * len(counts)
    said = (
        f'{report["split"]} images, all of the old classes: mean accuracy over the classes '
        f'{before["all"]:.2f} % before, {now["all"]:.2f} % with the new classes as answers.'
    )
    kept += '; what is said of them was measured without the new classes.'
    notes = [*(report.get('data_notes') or ()), note, said, kept]
    write_report({**report, **now, **whole, 'rejection': rejection, 'data_notes': notes}, out)
    return [said, kept]
