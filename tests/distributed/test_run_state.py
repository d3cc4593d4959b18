"""What the hook tells before each step."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.optim import OptimWrapper

from bce3s.engine import run_state
from bce3s.engine.run_state import RunStateHook
from bce3s.errors import BCE3SError
from bce3s.models import share
from bce3s.models.share import Share


def make_runner(seed=1, epoch=0, iteration=0):
    sampler = SimpleNamespace(sizes=lambda batch_idx: (3, 4 + batch_idx))
    return SimpleNamespace(
        model=SimpleNamespace(data_preprocessor=SimpleNamespace(sizes=None)),
        train_dataloader=SimpleNamespace(batch_sampler=sampler),
        seed=seed,
        epoch=epoch,
        iter=iteration,
        max_epochs=3,
        train_loop=SimpleNamespace(),
    )


def draws(**moment):
    RunStateHook().before_train_iter(make_runner(**moment), 0, {})
    return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002


def test_what_is_drawn_in_a_step_does_not_depend_on_the_steps_before(monkeypatch):
    first = draws(iteration=7)
    assert draws(iteration=7) == first
    others = [draws(iteration=8), draws(iteration=7, seed=2)]
    monkeypatch.setattr(run_state, 'get_rank', lambda: 1)
    others.append(draws(iteration=7))
    for other in others:
        assert all(a != b for a, b in zip(first, other, strict=True))


def test_the_preprocessor_is_told_how_the_batch_lies_on_the_ranks(monkeypatch):
    runner = make_runner()
    RunStateHook().before_train_iter(runner, 2, {})
    assert runner.model.data_preprocessor.sizes is None
    monkeypatch.setattr(run_state, 'get_world_size', lambda: 2)
    RunStateHook().before_train_iter(runner, 2, {})
    assert runner.model.data_preprocessor.sizes == (3, 6)


def test_sizes_that_are_known_need_no_exchange(monkeypatch):
    monkeypatch.setattr(share, 'rank_and_world_size', lambda: (1, 2))
    monkeypatch.setattr(share, 'all_gather', None)
    assert Share.of(torch.zeros(4), (3, 4)) == Share((3, 4), 1)
    assert Share.of(torch.zeros(1), (3, 0)).own == 0  # one stands in
    for wrong in ((3, 5), (3, 4, 4), (4, 3)):
        with pytest.raises(BCE3SError, match='Rank 1 of 2 has a batch of 4 samples'):
            Share.of(torch.zeros(4), wrong)


def test_gradient_accumulation_of_mmengine_is_refused():
    runner = make_runner()
    runner.model.head = SimpleNamespace(set_class_counts=list)
    runner.train_dataloader.dataset = SimpleNamespace(metainfo=dict(class_counts=[1]))
    runner.val_loop = None
    weights = [torch.zeros(1, requires_grad=True)]
    runner.optim_wrapper = OptimWrapper(torch.optim.SGD(weights, 0.1), accumulative_counts=4)
    with pytest.raises(BCE3SError, match=r'Set it to 1 and model\.micro_batches=4 instead'):
        RunStateHook().before_train(runner)
