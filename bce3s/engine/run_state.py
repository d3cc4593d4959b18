"""What the model has to know of the run, and what its processes agree on."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from mmengine.dist import broadcast, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import distributed, nn

from bce3s.datasets.long_tailed import check_several_labels
from bce3s.engine.lazy_sgd import check_sampling
from bce3s.engine.loops import epoch_size
from bce3s.errors import BCE3SError
from bce3s.losses.resampling import number_of_classes
from bce3s.randomness import Clock, derived_seed
from bce3s.registry import HOOKS
from bce3s.samplers import PairedBatchSampler
from bce3s.signals import FailedElsewhere, requested


def bare_model(runner: Runner) -> nn.Module:
    """The model without the wrapper of distributed training."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


@HOOKS.register_module()
class RunStateHook(Hook):
    """Tells the model the class counts, and before each step the seed, epoch and step.

    Everything random is a function of these, so that a resumed run equals one that was never
    stopped, also in the middle of an epoch. Python's, NumPy's and torch's global generators are
    reseeded for what draws from them: before an epoch from (seed, epoch, rank), which its loader's
    workers inherit, and before a step from (seed, step, rank) (dropout).

    With several processes the preprocessor is told how the batch lies on the ranks, and buffers
    (BatchNorm's statistics) of rank 0 are everybody's at the end of an epoch: it is they that are
    validated and saved.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        model, loader = bare_model(runner), runner.train_dataloader
        counts = loader.dataset.metainfo['class_counts']
        model.head.set_class_counts(counts)
        _tell_several_labels(model.head, loader.dataset)
        if finetune_epochs(runner):
            model.head.check_finetune()
        if runner.val_loop is not None:
            _check_same_counts(counts, runner.val_dataloader.dataset.metainfo)
        if runner.optim_wrapper._accumulative_counts > 1:
            raise BCE3SError(
                'optim_wrapper.accumulative_counts is above 1, but negatives, mixing and memory '
                'bank are those of one batch. Set it to 1 and model.micro_batches='
                f'{runner.optim_wrapper._accumulative_counts} instead: a batch of batch_size goes '
                'through the network in that many parts.'
            )
        if runner.cfg.get('randomness', {}).get('diff_rank_seed'):
            raise BCE3SError(
                'randomness.diff_rank_seed=True would give every process other batches, negatives '
                'and initial weights: every draw here is already made for the global batch. Set '
                'it to False.'
            )
        _check_pairing(model.data_preprocessor.paired, loader.batch_sampler)
        check_sampling(model.head, runner.optim_wrapper, runner.hooks)
        if model.head.sample_rate < 1:
            _tell_sampling(runner, model)
        _tell_batch(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        _reseed(runner.seed, 'epoch', runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict) -> None:
        _reseed(runner.seed, 'step', runner.iter)
        preprocessor = bare_model(runner).data_preprocessor
        epochs = runner.max_epochs - finetune_epochs(runner)
        preprocessor.clock = Clock(runner.seed, runner.epoch, runner.iter, epochs)
        if get_world_size() > 1:
            sizes = getattr(runner.train_dataloader.batch_sampler, 'sizes', None)
            preprocessor.sizes = sizes and sizes(batch_idx)

    def after_train_epoch(self, runner: Runner) -> None:
        if get_world_size() == 1:
            return
        for buffer in bare_model(runner).buffers():
            broadcast(buffer, src=0)


def _tell_several_labels(head: nn.Module, dataset) -> None:
    labels = getattr(dataset, 'labels', None)
    if labels is not None and labels.ndim == 2:
        check_several_labels(np.asarray(labels), dataset.metainfo['classes'])
        head.set_several_labels(torch.as_tensor(labels))


def finetune_epochs(runner: Runner) -> int:
    """The length of the second stage, ``train_cfg.finetune_epochs``; 0: there is none."""
    return getattr(runner.train_loop, 'finetune_epochs', 0)


def _reseed(seed: int, *moment: str | int) -> None:
    seed = derived_seed(seed, *moment, get_rank()) % 2**32
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (the global state is what other people's code uses)
    # torch.manual_seed, without 120 us for devices that are not there
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(seed)


def _tell_sampling(runner: Runner, model: nn.Module) -> None:
    head, samples = model.head, epoch_size(runner.train_dataloader)['global_batch']
    labels = samples * (2 if model.data_preprocessor.paired else 1)
    size = number_of_classes(head.num_classes, head.sample_rate, labels)
    all_of_them = ', whose labels are always kept: all of them' * (size == head.num_classes)
    runner.logger.info(
        f'Each step compares its batch with {size} of {head.num_classes} classes{all_of_them}.'
    )


def _tell_batch(runner: Runner) -> None:
    """What a step takes; a warning where that is not what the learning rate is meant for."""
    batch, world = epoch_size(runner.train_dataloader)['global_batch'], get_world_size()
    each = f', {batch // world} in each of {world} processes' if world > 1 else ''
    scaling = runner.cfg.get('auto_scale_lr') or {}
    meant = scaling.get('base_batch_size')
    if meant not in (None, batch) and not scaling.get('enable'):
        runner.logger.warning(
            f'A step takes {batch} images{each}; the learning rate is meant for {meant}: give '
            '--auto-scale-lr, or another train_dataloader.batch_size.'
        )
    elif world > 1:
        runner.logger.info(f'A step takes {batch} images{each}.')


def _check_same_counts(train: list[int], evaluation: dict) -> None:
    if list(evaluation.get('class_counts') or []) != list(train):
        raise BCE3SError(
            'The evaluation set carries other class counts than the training set, so '
            'Many/Medium/Few would be wrong: give val_dataloader.dataset the imbalance_factor, '
            'imbalance, n_max and keep_classes of train_dataloader.dataset.'
        )


def _check_pairing(paired: bool, batch_sampler) -> None:
    if paired != isinstance(batch_sampler, PairedBatchSampler):
        has, wants = ('mixes views', 'PairedBatchSampler')
        if not paired:
            has, wants = ('mixes nothing', 'GlobalBatchSampler')
        raise BCE3SError(
            f'The preprocessor {has}, but the batch sampler is {type(batch_sampler).__name__}: set '
            f"train_dataloader.batch_sampler.type='{wants}', or change data_preprocessor.mix."
        )


# ------------------------------------------------------------ what the processes agree on
def highest(runner: Runner, *values: int) -> tuple[int, ...]:
    """The highest of each value over all processes; every one of them has to call this.

    Through gloo, also where gradients go through NCCL: the device's queue is not touched.
    """
    if get_world_size() == 1:
        return values
    column = torch.tensor(values, dtype=torch.int64)
    distributed.all_reduce(column, distributed.ReduceOp.MAX, group=_group(runner))
    return tuple(column.tolist())


def _group(runner: Runner) -> distributed.ProcessGroup | None:
    if not hasattr(runner, '_control_group'):
        gloo = distributed.get_backend() == 'gloo'
        runner._control_group = None if gloo else distributed.new_group(backend='gloo')
    return runner._control_group


def stop_requested(runner: Runner, *values: int) -> tuple[str, ...]:
    """The name of the signal by which any process was asked to stop ('': none), then the highest of
    ``values``; every process has to call this.
    """
    number, *rest = highest(runner, requested(), *values)
    return (signal.Signals(number).name if number else '', *rest)


@contextmanager
def all_or_none(runner: Runner) -> Iterator[None]:
    """Every process runs the block; where it fails in one of them, it fails in all.

    Otherwise those that wait for that one in the next step would wait until they are killed.

    Raises:
        FailedElsewhere: another process failed; that one has the reason.
    """
    try:
        yield
    except Exception:
        highest(runner, 1)
        raise
    if highest(runner, 0) != (0,):
        raise FailedElsewhere('Another process could not go on; its message says why.')
