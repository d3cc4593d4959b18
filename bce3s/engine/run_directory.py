"""What a training run left in its folder: config, newest valid checkpoint, report."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn
from torch.utils.data import Dataset

from bce3s.config import explained, load_config
from bce3s.datasets.long_tailed import Thresholds
from bce3s.engine.checkpoint import compare_states, load_from_disk, survey
from bce3s.errors import BCE3SError
from bce3s.evaluation.calibration import Probabilities, Sigmoid, Softmax
from bce3s.evaluation.report import read_report
from bce3s.registry import DATASETS, MODELS

LOADERS = {'train': 'train_dataloader', 'val': 'val_dataloader', 'test': 'test_dataloader'}


def take_own_lists(config: Config, folder: Path) -> None:
    """The splits of own images are in the folder of the run that made them, wherever it is now.

    The config says where that was; another run may have that name since.
    """
    for name in LOADERS.values():
        dataset = (config.get(name) or {}).get('dataset') or {}
        lists = folder.resolve() / Path(dataset.get('lists') or '').name
        if dataset.get('lists') and lists.is_dir():
            dataset['lists'] = str(lists)


@dataclass(frozen=True)
class RunDirectory:
    """A run that has trained, whole or in part.

    Attributes:
        folder: its work dir.
        config: the one that it was trained with, options included.
        checkpoint: the newest valid one, or the one asked for.
    """

    folder: Path
    config: Config
    checkpoint: Path

    @classmethod
    def open(
        cls,
        run: str | Path,
        checkpoint: str | Path | None = None,
        options: Iterable[str] = (),
        data_root: str | None = None,
    ) -> RunDirectory:
        """Finds config and checkpoint; reads neither weights nor data.

        Args:
            run: work dir of the run; or a config file, and then ``checkpoint`` is needed, whose
                folder is taken for the work dir.
            checkpoint: file to be used instead of the newest valid one; its path, or its name in
                the work dir.
            options: ``--cfg-options``.
            data_root: ``--data-root``, where the images are.

        Raises:
            BCE3SError: no such folder, no config in it, no valid checkpoint.
        """
        folder = Path(run).expanduser()
        if folder.is_dir():
            config = load_config(str(_config_in(folder)), options, data_root)
            path = _newest(folder) if checkpoint is None else _named(folder, checkpoint)
        elif checkpoint is None:
            raise BCE3SError(f'{folder} is no work dir of a run: give one, or CONFIG CHECKPOINT.')
        else:
            config = load_config(str(folder), options, data_root)
            path = _named(Path(checkpoint).expanduser().parent, checkpoint)
            folder = path.parent
        take_own_lists(config, folder)
        return cls(folder, config, path)

    def report(self) -> dict[str, Any]:
        """``report.json`` of the run; see :func:`~bce3s.evaluation.report.read_report`."""
        return read_report(self.folder)

    def model(self) -> tuple[nn.Module, dict[str, Any]]:
        """The model in evaluation mode and the checkpoint's ``meta``; see :func:`load_model`. What
        is wrong with the config, which may be of another version, is a :class:`BCE3SError`.
        """
        with explained(self.config):
            return load_model(self.config, self.checkpoint)

    @property
    def loss(self) -> Any:
        """What gave the logits their meaning: the class of the joint branch's loss, or of the
        second stage's if there is one.

        Raises:
            BCE3SError: the config has no joint branch.
        """
        head = self.config.get('model', {}).get('head', {})
        second = self.config.get('train_cfg', {}).get('finetune_epochs') and head.get('finetune')
        joint = second or head.get('joint') or {}
        joint = joint[0] if isinstance(joint, list | tuple) else joint  # of several experts
        kind = joint.get('type')
        if kind is None:
            raise BCE3SError(
                f'The model of {self.folder} has no head with a joint branch, such as '
                'TripartiteHead, so that nothing says what its scores are.'
            )
        init_default_scope(self.config.get('default_scope', 'bce3s'))
        return MODELS.get(kind) if isinstance(kind, str) else kind

    @property
    def probabilities(self) -> Probabilities:
        """What its logits mean: sigmoids where the loss says so (``sigmoid``), else softmax.

        Raises:
            BCE3SError: the config has no joint branch.
        """
        return Sigmoid() if getattr(self.loss, 'sigmoid', False) else Softmax()

    @property
    def splits(self) -> list[str]:
        """Which of ``train``, ``val`` and ``test`` the config has loaders of."""
        return [split for split, key in LOADERS.items() if self.config.get(key) is not None]

    def dataset(self, split: str, **options: Any) -> Dataset:
        """The data set of the loader of ``split``, which need not be called so itself: benchmarks
        without validation data are validated on their test images.

        Args:
            split: see ``LOADERS``.
            options: arguments of the data set that take the place of the config's.

        Raises:
            BCE3SError: the config has no such loader, or the data are not there any more.
        """
        loader = self.config.get(LOADERS[split])
        if loader is None:
            raise BCE3SError(f'The config of {self.folder} has no {LOADERS[split]}.')
        init_default_scope(self.config.get('default_scope', 'bce3s'))
        return DATASETS.build({**loader.dataset, **options})


def _config_in(folder: Path) -> Path:
    """The config that the run wrote down; where there are several, the one written last."""
    found = sorted(folder.glob('*.py'), key=lambda path: path.stat().st_mtime)
    if not found:
        raise BCE3SError(
            f'{folder} holds no config (NAME.py), which every training run writes there: give the '
            'work dir of a run.'
        )
    return found[-1]


def _named(folder: Path, checkpoint: str | Path) -> Path:
    path = Path(checkpoint).expanduser()
    for candidate in (path, folder / path):
        if candidate.is_file():
            return candidate
    raise BCE3SError(f'Checkpoint {path} does not exist, here or in {folder}.')


def _newest(folder: Path) -> Path:
    valid, unfit = survey(folder)
    if valid:
        return valid[-1][0]
    names = ', '.join(path.name for path in unfit)
    raise BCE3SError(
        f'{folder} holds no valid checkpoint{f" (damaged: {names})" if names else ""}: the run has '
        'not saved one yet, or they were removed.'
    )


def thresholds_of(cfg: Config, split: str = 'val') -> Thresholds:
    """Where Many ends and Few begins, as the metric has it that evaluates ``split`` (``val`` or
    ``test``), or the only one that the config has.
    """
    keys = (f'{split}_evaluator', 'val_evaluator', 'test_evaluator')
    found = next((cfg[key] for key in keys if cfg.get(key)), {})
    for metric in found if isinstance(found, list | tuple) else [found]:
        given = {key: metric[key] for key in ('many', 'few') if key in metric}
        if given:
            return Thresholds(**given)
    return Thresholds()


def require_one_label(several: bool, what: str) -> None:
    """Raises BCE3SError where images have several labels, for ``what`` is of no use with these."""
    if several:
        raise BCE3SError(f'{what}: this is for images with one label, and these have several.')


def load_model(cfg: Config, checkpoint: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The model of ``cfg`` with the checkpoint's weights, on a GPU if there is one, and the
    checkpoint's ``meta``.

    Raises:
        BCE3SError: no checkpoint, not a safe one, or one of another architecture.
    """
    init_default_scope(cfg.get('default_scope', 'bce3s'))
    saved = load_from_disk(checkpoint)
    model = MODELS.build(deepcopy(cfg.model))  # mmpretrain writes into it
    weights = {name.removeprefix('module.'): v for name, v in saved['state_dict'].items()}
    compare_states(model.state_dict(), weights)
    model.load_state_dict(weights)
    model.to('cuda' if torch.cuda.is_available() else 'cpu')
    return model.eval(), saved.get('meta') or {}
