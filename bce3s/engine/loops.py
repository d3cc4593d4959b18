"""The training loop, which can be resumed in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from mmengine.dist import get_world_size
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop
from torch.utils.data import DataLoader

from bce3s.errors import BCE3SError


def epoch_size(loader: DataLoader) -> dict[str, int]:
    """What an epoch is made of: ``batches``, samples in a whole ``global_batch`` (of all processes
    together), ``samples``. What was saved within an epoch can be continued only where it is equal.
    """
    batches = loader.batch_sampler
    size = getattr(batches, 'global_batch_size', None)
    if size is None:
        size = (batches.batch_size if batches is not None else 1) * get_world_size()
    sampler = getattr(batches, 'sampler', loader.dataset)
    samples = getattr(sampler, 'total', len(sampler))
    return dict(batches=len(loader), global_batch=int(size), samples=samples)


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """MMEngine's loop over epochs, that goes on where a checkpoint was written within one.

    With ``meta`` of e finished epochs and i finished iterations the first batch is number
    ``i - e * len(dataloader)`` (from 0) of epoch e; hooks get that ``batch_idx``. Order, draws and
    seeds are functions of epoch and step, so the steps are those of a run that was never stopped. A
    batch sampler of this project leaves out the batches that were seen; with another one they are
    loaded and dropped. What worker processes draw from a global generator of their own, as
    mmpretrain's pipelines do, is another draw after a resume within an epoch; data sets of this
    project draw by the batch sampler's places (:class:`~bce3s.samplers.Draws`).

    Args:
        *args, **kwargs: of ``EpochBasedTrainLoop``.
        finetune_epochs: how many of the epochs, the last ones, are the second stage of
            ``TwoStageHook``.
    """

    def __init__(self, *args, finetune_epochs: int = 0, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.finetune_epochs = finetune_epochs

    @property
    def batches_done(self) -> int:
        """Batches of the present epoch that are behind the run."""
        return self._iter - self._epoch * len(self.dataloader)

    def continue_from(self, meta: dict[str, Any]) -> None:
        """Adapts to a checkpoint after ``Runner.resume`` took over its epoch and iteration.

        At the end of an epoch any batch size and number of processes may go on: ``iter`` becomes
        what this run would count.

        Raises:
            BCE3SError: it was saved within an epoch that was cut into other batches, or beyond the
            last one of this run.
        """
        for sampler in self._samplers():
            if hasattr(sampler, 'seed'):  # it was built with the config's, the checkpoint's counts
                sampler.seed = self.runner.seed
        self._require_epochs(self._epoch)
        here = epoch_size(self.dataloader)
        saved = meta.get('epoch_size')
        if saved is None:  # by MMEngine or an earlier version: at the end of an epoch
            if 0 <= self.batches_done <= here['batches']:
                return
            saved = dict(batches=self._iter // max(1, self._epoch))
        done = self._iter - self._epoch * saved['batches']
        self._require_epochs(self._epoch + (done > 0))
        if done == 0:
            self._iter = self._epoch * here['batches']
        elif saved != here:
            raise BCE3SError(
                f'The checkpoint was saved within epoch {self._epoch + 1}, after {done} of '
                f'{_cut(saved)}; in this run an epoch has {_cut(here)}. Resume with the same '
                'training set and batch_size times processes, or from the end of an epoch: '
                '--resume WORK_DIR/epoch_N.pth.'
            )

    def _require_epochs(self, number: int) -> None:
        if number > self._max_epochs:
            raise BCE3SError(
                f'The checkpoint was saved in epoch {number}, but this run has {self._max_epochs}: '
                'there is nothing to train. Raise train_cfg.max_epochs, or evaluate it with '
                'tools/test.py.'
            )

    def _samplers(self) -> list[Any]:
        batches = self.dataloader.batch_sampler
        return [getattr(batches, name, None) for name in ('sampler', 'partner')]

    def run_epoch(self) -> None:
        done = self.batches_done
        self._begin_epoch(resumed=done > 0)
        self.runner.model.train()
        for batch_idx, data_batch in enumerate(self._batches(done), done):
            self.run_iter(batch_idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _begin_epoch(self, resumed: bool) -> None:
        """What a hook forgets at the start of an epoch (momentum, at that of a second stage) was
        forgotten before the checkpoint was written: what that holds stays.
        """
        optimizer = getattr(self.runner.optim_wrapper, 'optimizer', None)
        state = dict(optimizer.state) if resumed and optimizer is not None else {}
        self.runner.call_hook('before_train_epoch')
        if state:
            optimizer.state.update(state)

    def _batches(self, done: int) -> Iterator[Any]:
        batches = self.dataloader.batch_sampler
        if not hasattr(batches, 'first'):
            return islice(self.dataloader, done, None)
        batches.first = done
        return iter(self.dataloader)


def _cut(size: dict[str, int]) -> str:
    if 'samples' not in size:
        return f'{size["batches"]} batches'
    return f'{size["batches"]} batches ({size["samples"]} samples, {size["global_batch"]} a batch)'
