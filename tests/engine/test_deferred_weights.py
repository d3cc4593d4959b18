"""Deferred re-weighting in a run: from its epoch on, not before, and the same after a stop."""

from __future__ import annotations

import torch
from test_second_stages import on_digits, state


def deferred(cfg):
    cfg.model.head.reweight.start = 0.5  # the second of two epochs


def none(cfg):
    cfg.model.head.reweight = None


def test_weights_begin_at_their_epoch(tmp_path):
    on_digits('nc_drw', tmp_path / 'whole', 2, 0, deferred)
    stopped = str(tmp_path / 'whole' / 'iter_20.pth')  # within the second epoch
    on_digits('nc_drw', tmp_path / 'resumed', 2, 0, deferred, resume=True, load_from=stopped)
    for key, value in state(tmp_path / 'whole' / 'epoch_2.pth').items():
        assert torch.equal(value, state(tmp_path / 'resumed' / 'epoch_2.pth')[key]), key

    on_digits('nc_drw', tmp_path / 'plain', 2, 0, none)
    for epoch in (1, 2):
        ends = [state(tmp_path / run / f'epoch_{epoch}.pth') for run in ('whole', 'plain')]
        same = all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())
        assert same == (epoch == 1)
