"""Where every random number comes from.

A draw is a function of (seed, epoch or step, name of the stream, position in the GLOBAL batch). It
is made on the CPU for the whole global batch, and rank r keeps its contiguous slice: resuming needs
no saved generator state, N processes take the steps of one, and a GPU sees the numbers of a CPU.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch

from bce3s.errors import BCE3SError


def derived_seed(seed: int, *key: int | str) -> int:
    """A 63-bit seed that depends on nothing but ``seed`` and ``key`` (stream, epoch, step, ...)."""
    digest = hashlib.sha256(repr((int(seed), *key)).encode()).digest()
    return int.from_bytes(digest[:8], 'little') >> 1


def generator(seed: int, *key: int | str) -> torch.Generator:
    """The CPU generator of ``derived_seed(seed, *key)``."""
    return torch.Generator().manual_seed(derived_seed(seed, *key))


@dataclass(frozen=True)
class Clock:
    """The moment of a training run: its seed, the epoch and the step (iterations), from 0.

    ``epochs`` is the length of the run, its second stage left out; 0: not known, and then nothing
    may depend on it.
    """

    seed: int = 0
    epoch: int = 0
    step: int = 0
    epochs: int = 0

    @property
    def progress(self) -> float:
        """The share of the run's epochs that are over, in [0, 1) of its first stage.

        Raises:
            BCE3SError: ``epochs`` is not known.
        """
        if self.epochs < 1:
            raise BCE3SError(
                'What changes in the course of a run needs its length: give the clock its epochs, '
                'Clock(seed, epoch, step, epochs).'
            )
        return self.epoch / self.epochs

    def generator(self, stream: str) -> torch.Generator:
        """The generator of a named stream in this step, the same on every rank."""
        return generator(self.seed, stream, self.step)

    def numpy(self, stream: str) -> np.random.Generator:
        """The same for NumPy, which has more distributions (Beta)."""
        return np.random.default_rng(derived_seed(self.seed, stream, self.step))
