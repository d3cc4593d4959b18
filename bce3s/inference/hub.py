"""A model as a folder that anybody may load, and such folders on the Hugging Face Hub.

``config.json`` is plain data: how the network is built, its classes, what it takes.
``model.safetensors`` has the weights, ``report.json`` the results and thresholds where there are
any, ``rejection.npz`` what the chosen score of rejection takes, ``README.md`` is the model card.
Nothing in them is code, and nothing is run: what ``config.json`` names is built only if it is a
part of a network of this package, mmpretrain's backbones and necks, or a layer of PyTorch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from bce3s.config import explained
from bce3s.engine import rejection_score
from bce3s.engine.checkpoint import compare_states
from bce3s.engine.run_directory import RunDirectory
from bce3s.errors import BCE3SError
from bce3s.files import write_all
from bce3s.inference.export import ExportedNetwork, agreement, float32_model, model_scores
from bce3s.inference.inputs import InputSpec
from bce3s.inference.model_card import format_card
from bce3s.inference.model_facts import evaluated, file_facts, model_facts
from bce3s.registry import MODELS

CONFIG, WEIGHTS, REPORT, CARD = 'config.json', 'model.safetensors', 'report.json', 'README.md'
DISTANCES = rejection_score.FILE
FORMAT, VERSION = 'bce3s', 1
# Modules whose registered classes are built from what somebody wrote.
BUILT = (
    *('bce3s.losses.', 'bce3s.models.', 'mmpretrain.models.backbones.', 'mmpretrain.models.necks.'),
    *('torch.nn.modules.', 'mmcv.cnn.bricks.', 'mmengine.model.'),
)
OF_TRAINING = ('augment', 'mix', 'batch_mix', 'views', 'finetune_mix')  # of the preprocessor
# Arguments of networks that name a file or an address.
FILES = re.compile(
    'init_cfg|weights|pretrained.*|.*checkpoint.*|.*(_path|_file|_url)|path|file|url'
)


@dataclass(frozen=True)
class PublishedRun(RunDirectory):
    """What a run directory is to a predictor, of a folder of :func:`save_pretrained`."""

    @classmethod
    def read(cls, folder: Path) -> PublishedRun:
        """
        Raises:
            BCE3SError: ``config.json`` is missing, damaged, or names what is not built.
        """
        content = _content(folder)
        return cls(folder, Config(dict(content, default_scope='bce3s')), folder / WEIGHTS)

    def model(self) -> tuple[nn.Module, dict[str, Any]]:
        """The model in evaluation mode, on a GPU if there is one, and its ``meta``.

        Raises:
            BCE3SError: weights that are missing, damaged, or of another network.
        """
        init_default_scope('bce3s')
        with explained(self.config):
            model = MODELS.build(deepcopy(self.config.model))
        try:
            weights = load_file(self.checkpoint)
        except (OSError, SafetensorError, ValueError) as error:
            raise BCE3SError(f'{self.checkpoint} cannot be read as weights: {error}.') from error
        compare_states(model.state_dict(), weights)
        model.load_state_dict(weights)
        model.to('cuda' if torch.cuda.is_available() else 'cpu')
        return model.eval(), self.config.meta.to_dict()


# --------------------------------------------------------------------------------------- writing
def save_pretrained(run: RunDirectory, folder: str | Path, repo: str | None = None) -> Path:
    """Writes the model of a run as a folder, each file whole or not at all, and returns it.

    Args:
        run: whose config has no ``custom_imports``.
        folder: is made if it is not there; files of other names stay.
        repo: what the model card calls it; None: by the name of the folder.

    Raises:
        BCE3SError: a model with parts of somebody's own, or a checkpoint that does not fit.
    """
    _no_imports(run.config, str(run.folder))
    if isinstance(run, PublishedRun):
        raise BCE3SError(f'{run.folder} is such a folder already: copy it.')
    model, meta = float32_model(run)
    spec = InputSpec.of(run, meta)
    weights = {
        name: value.detach().clone(memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
    }
    images = evaluated(run, spec, ExportedNetwork(model).linear.out_features)
    facts = model_facts(run, model, meta, spec, images)
    content = dict(
        format=FORMAT,
        version=VERSION,
        model=_plain(_network(run.config.model), run),
        train_cfg=_plain(dict(finetune_epochs=run.config.train_cfg.get('finetune_epochs')), run),
        meta=dict(
            epoch=meta.get('epoch'),
            dataset_meta={
                key: facts[key] for key in ('classes', 'class_counts', 'multilabel') if key in facts
            },
        ),
        input=asdict(spec),
        val_evaluator=facts['thresholds'],
        training=facts['training'],
        settings=_plain(_settings(run.config), run),
    )
    folder = Path(folder).expanduser()
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    files: dict[str, str | bytes] = {WEIGHTS: save(weights, metadata={'format': 'pt'})}
    if report := _report_of(run, meta):
        files[REPORT] = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    if rejection_score.kept_distances(run.folder, model):
        files[DISTANCES] = (run.folder / DISTANCES).read_bytes()
    write_all(files | {CONFIG: text + '\n'}, folder)
    networks = model, float32_model(PublishedRun.read(folder))[0]
    found = agreement(*map(model_scores, networks), images.images)
    facts['files'] = [file_facts(folder / WEIGHTS, 'safetensors', found, images.source)]
    facts['repo'] = repo or folder.name
    write_all({CARD: format_card(facts)}, folder)
    return folder


def _report_of(run: RunDirectory, meta: dict[str, Any]) -> dict[str, Any] | None:
    """The run's report, if it is of this checkpoint, without notes, which may name folders."""
    try:
        report = run.report()
    except BCE3SError:
        return None
    report.pop('data_notes', None)
    return report if report.get('epoch') == meta.get('epoch') else None


def _network(model: ConfigDict) -> dict[str, Any]:
    """What builds the network again, without what only a training needs and names of files."""
    model = deepcopy(model.to_dict())
    for key in ('compile', 'micro_batches', 'init_cfg', 'train_cfg'):
        model.pop(key, None)
    for key in OF_TRAINING:
        model['data_preprocessor'].pop(key, None)
    for part in ('backbone', 'neck'):
        for key in [key for key in model.get(part) or {} if FILES.fullmatch(key)]:
            del model[part][key]
    return model


def _settings(config: Any) -> dict[str, Any]:
    """How it was trained, for a reader: never read again. Without places on the machine."""
    keys = ('optim_wrapper', 'train_cfg', 'randomness')
    loader = {k: v for k, v in config.train_dataloader.items() if k != 'dataset'}
    schedule = (config.get('default_hooks') or {}).get('schedule')
    return {key: config.get(key) for key in keys} | dict(train_dataloader=loader, schedule=schedule)


def _plain(value: Any, run: RunDirectory) -> Any:
    """As JSON has it.

    Raises:
        BCE3SError: the config holds classes or functions.
    """
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise BCE3SError(
            f'The config of {run.folder} cannot be written as plain data ({error}): name its parts '
            'by strings.'
        ) from error


def push(folder: str | Path, repo: str, private: bool = False) -> str:
    """Uploads a folder of :func:`save_pretrained`; returns its address.

    Raises:
        BCE3SError: the Hub cannot be reached or refuses.
    """
    with _hub(repo) as hub:
        api = hub.HfApi()
        repo = api.create_repo(repo, private=private, exist_ok=True).repo_id
        names = [CONFIG, WEIGHTS, REPORT, DISTANCES, CARD]
        done = api.upload_folder(
            repo_id=repo,
            folder_path=str(folder),
            allow_patterns=names,
            commit_message='A model of bce3s',
        )
    return str(getattr(done, 'repo_url', None) or done)


@contextmanager
def _hub(repo: str) -> Iterator[Any]:
    """``huggingface_hub``; what goes wrong with it is a sentence."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise BCE3SError(
            'This needs huggingface_hub: pip install huggingface_hub, or bce3s[hub].'
        ) from error
    try:
        yield huggingface_hub
    except BCE3SError:
        raise
    except Exception as error:  # whatever a name, a network, a disk or the Hub can do
        status = getattr(getattr(error, 'response', None), 'status_code', None)
        if status in (401, 403):
            why = 'it asks who you are: log in with `hf auth login`, or set HF_TOKEN'
        else:
            said = str(error).strip().splitlines() or ['']
            why = f'{type(error).__name__}: {said[0][:200]}'
        raise BCE3SError(f'{repo} on the Hugging Face Hub: {why}.') from error


# --------------------------------------------------------------------------------------- reading
def opened(run: str | Path, checkpoint: str | Path | None = None) -> RunDirectory:
    """A run as :meth:`RunDirectory.open` finds it, or a folder of :func:`save_pretrained`."""
    folder = Path(run).expanduser()
    if checkpoint is None and (folder / CONFIG).is_file():
        return PublishedRun.read(folder)
    return RunDirectory.open(run, checkpoint)


def published(name: str | Path, revision: str | None = None) -> RunDirectory:
    """A folder of :func:`save_pretrained`, or a repository on the Hub, which is fetched.

    Raises:
        BCE3SError: there is none, it cannot be fetched, or is damaged or unsafe.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if re.match(r'[./~]', str(name)) or str(name).count('/') > 1:
            raise BCE3SError(f'{name} is no folder, and no NAME/MODEL on the Hugging Face Hub.')
        with _hub(str(name)) as hub:
            files = [CONFIG, WEIGHTS, REPORT, DISTANCES]
            where = hub.snapshot_download(str(name), revision=revision, allow_patterns=files)
        folder = Path(where)
    return PublishedRun.read(folder)


def _content(folder: Path) -> dict[str, Any]:
    """``config.json``, looked through.

    Raises:
        BCE3SError: it is missing, damaged, of another format, or names what is not built.
    """
    path = folder / CONFIG
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        if content.get('format') != FORMAT:
            raise ValueError(f'its format is not {FORMAT!r}')
        needed = dict(model=dict, train_cfg=dict, meta=dict, input=dict, val_evaluator=dict)
        if wrong := [k for k, kind in needed.items() if not isinstance(content.get(k), kind)]:
            raise ValueError(f'it has no {", ".join(wrong)}')
    except FileNotFoundError:
        raise BCE3SError(f'{folder} has no {CONFIG}: it is no published model.') from None
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise BCE3SError(f'{path} is not the config of a published model: {error}.') from error
    if content.get('version') != VERSION:
        raise BCE3SError(
            f'{path} is of version {content.get("version")!r} of the format, this package reads '
            f'{VERSION}: install a newer one.'
        )
    _no_imports(content, str(path))
    _no_imports(content['model'], str(path))
    _check_types(content['model'], path)
    return content


def _no_imports(config: Any, where: str) -> None:
    if config.get('custom_imports'):
        raise BCE3SError(
            f'{where} has custom_imports, code of its own: only models that are made of parts of '
            'this package, mmpretrain and PyTorch are published and loaded.'
        )


def _check_types(node: Any, path: Path) -> None:
    """
    Raises:
        BCE3SError: a type that is not built from what somebody wrote, or a name of a file.
    """
    if isinstance(node, list):
        for each in node:
            _check_types(each, path)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key in ('type', '_scope_') and not (
            isinstance(value, str) and _may_be_built(key, value)
        ):
            raise BCE3SError(
                f'{path} names {value!r}, which is no part of this package, no backbone or neck of '
                'mmpretrain and no layer of PyTorch: nothing of it was run.'
            )
        named = isinstance(value, str) or value is True or (key == 'init_cfg' and value)
        if named and FILES.fullmatch(key):
            raise BCE3SError(f'{path} has {key!r}, which names a file: nothing of it was run.')
        _check_types(value, path)


def _may_be_built(key: str, name: str) -> bool:
    """Looked up among what is registered; :meth:`Registry.get` would import a dotted name."""
    if key == '_scope_':
        return name in ('bce3s', 'mmpretrain', 'mmengine')
    name, registry = re.sub(r'^(bce3s|mmpretrain|mmengine)\.', '', name), MODELS
    while registry is not None:
        registry.import_from_location()
        if found := registry.module_dict.get(name):
            return getattr(found, '__module__', '').startswith(BUILT)
        registry = registry.parent
    return False
