"""The memory bank against a loop over the samples."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch

from bce3s.models import ClassMemoryBank
from bce3s.models.share import Share

K, D = 10, 3


def batch(size, seed, classes=K):
    gen = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (size,), generator=gen)
    return torch.randn(size, D, generator=gen, dtype=torch.float64), labels


@pytest.mark.parametrize('classes', [1, 4, K])
@pytest.mark.parametrize('size', [1, 2, 7, 64])
def test_the_last_sample_of_each_class_stays(size, classes):
    bank = ClassMemoryBank(K, D).double()
    features, filled = np.zeros((K, D)), np.zeros(K, dtype=bool)
    for step in range(8):
        rows, labels = batch(size, step, classes)
        bank.update(rows, labels)
        features, filled = oracles.bank_after(features, filled, rows.numpy(), labels.tolist())
        assert np.array_equal(bank.features.numpy(), features)
        assert np.array_equal(bank.filled.numpy(), filled)


def test_it_starts_empty_and_keeps_absent_classes():
    bank = ClassMemoryBank(K, D)
    assert not bank.filled.any()
    assert not bank.features.any()
    bank.update(torch.full((2, D), 2.0), torch.tensor([4, 4]))
    assert bank.filled.nonzero().flatten().tolist() == [4]
    assert bank.features.sum().item() == 2 * D


def test_rows_are_stored_as_they_are():
    """The un-normalised projection, in the bank's precision, without a gradient."""
    bank = ClassMemoryBank(K, D)
    rows = (100 * torch.randn(1, D, dtype=torch.float64)).requires_grad_()
    bank.update(rows, torch.tensor([1]))
    assert torch.equal(bank.features[1], rows[0].float())
    assert not bank.features.requires_grad


@pytest.mark.parametrize('sizes', [(3, 2), (2, 3), (2, 2, 1)])
def test_ranks_write_the_bank_of_the_whole_batch(sizes, monkeypatch):
    """Each rank gathers; 'last' is by position in the global batch."""
    rows, labels = batch(sum(sizes), seed=3, classes=3)
    parts = rows.split(sizes)
    padded = [torch.cat([p, p.new_full((max(sizes) - len(p), D), 9.0)]) for p in parts]
    monkeypatch.setattr('bce3s.models.share.all_gather', lambda _: padded)
    expected = ClassMemoryBank(K, D)
    expected.update(rows, labels)
    for rank, part in enumerate(parts):
        bank = ClassMemoryBank(K, D)
        bank.update(Share(sizes, rank).gather(part), labels)
        assert torch.equal(bank.features, expected.features)
        assert torch.equal(bank.filled, expected.filled)


def test_saved_and_loaded(tmp_path):
    bank, fresh = ClassMemoryBank(K, D), ClassMemoryBank(K, D)
    rows, labels = batch(4, 0)
    bank.update(rows, labels)
    torch.save(bank.state_dict(), tmp_path / 'bank.pth')
    fresh.load_state_dict(torch.load(tmp_path / 'bank.pth', weights_only=True))
    assert torch.equal(fresh.features, bank.features)
    assert torch.equal(fresh.filled, bank.filled)
    assert fresh.filled.any()
    assert not list(bank.parameters())
