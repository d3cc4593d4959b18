"""Equations of rivals in float64 against loops: values, gradients, edges."""

from __future__ import annotations

from functools import partial

import numpy as np
import oracles
import pytest
import torch

from bce3s.errors import BCE3SError
from bce3s.losses import power_weights, simsiam

close = partial(torch.testing.assert_close, rtol=1e-9, atol=1e-9)


def noise(*shape, seed=0):
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=gen, dtype=torch.float64)


def tensor(values):
    return torch.tensor(np.array(values), dtype=torch.float64)


# ------------------------------------------------------------------------------- GLMC


@pytest.mark.parametrize('p', [0, 0.5, 1.2])
def test_power_weights(p):
    counts = [500, 40, 7, 1]
    close(power_weights(counts, p), tensor(oracles.power_weights(counts, p)))
    with pytest.raises(BCE3SError, match='class 1 has no training sample'):
        power_weights([3, 0, 1], p)


def test_simsiam():
    p, z = noise(2, 5, 3).requires_grad_(), noise(2, 5, 3, seed=1).requires_grad_()
    value = simsiam(p, z).mean()
    value.backward()
    theirs = z.detach().numpy()
    close(value, tensor(oracles.simsiam(p.detach().numpy(), theirs)))
    expected = oracles.gradient(lambda x: oracles.simsiam(x, theirs), p.detach().numpy())
    torch.testing.assert_close(p.grad, tensor(expected), rtol=1e-6, atol=1e-8)
    assert z.grad is None  # the gradient is stopped
