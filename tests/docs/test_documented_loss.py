"""docs/your_loss.md: its 20 lines, its loss against loops over plain numbers."""

import importlib
import sys
from math import exp, log1p
from pathlib import Path

import pytest
import torch
from documents import blocks_of

from bce3s.models import Targets, TripartiteHead
from bce3s.models.branches import joint_loss
from bce3s.randomness import Clock
from bce3s.registry import MODELS

FILES = {block.file: block.text for block in blocks_of('docs/your_loss.md') if block.file}
COUNTS = [81, 16, 1]
LOGITS = [[0.3, -1.2, 0.7], [2.0, 0.1, -0.4]]
LABELS = [2, 1]
MARGIN = 1.5


@pytest.fixture
def module(tmp_path, monkeypatch):
    """``mine.your_loss``, forgotten again afterwards."""
    path = tmp_path / 'mine/your_loss.py'
    path.parent.mkdir()
    path.write_text(FILES['mine/your_loss.py'])
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module('mine.your_loss')
    MODELS.module_dict.pop('MarginBCE')
    for name in ('mine.your_loss', 'mine'):
        del sys.modules[name]


def head_of(module, **branches):
    assert MODELS.get('MarginBCE') is module.MarginBCE
    head = TripartiteHead(3, 4, joint=dict(type='MarginBCE', margin=MARGIN), **branches)
    head.set_class_counts(COUNTS)
    return head


def by_hand(logits, own):
    """``sum_j t_j softplus(-z_j) + (1 - t_j) softplus(z_j)``, ``z_j`` lowered by ``t_j`` times the
    margin of class j.
    """
    total = 0.0
    for z, t, count in zip(logits, own, COUNTS, strict=True):
        z = z - t * MARGIN * (min(COUNTS) / count) ** 0.25
        total += t * log1p(exp(-z)) + (1 - t) * log1p(exp(z))
    return total


def test_the_example_is_as_short_as_it_says():
    lines = [line for line in FILES['mine/your_loss.py'].splitlines() if line.strip()]
    assert len(lines) == 12  # as the text says
    assert 'It is 12 lines' in (Path(__file__).parents[2] / 'docs/your_loss.md').read_text()


def test_hard_labels(module):
    head = head_of(module)
    loss = head.joint(torch.tensor(LOGITS), torch.tensor(LABELS))
    one_hot = [[0, 0, 1], [0, 1, 0]]
    expected = sum(map(by_hand, LOGITS, one_hot)) / 2
    assert loss.item() == pytest.approx(expected)
    without = sum(
        log1p(exp(z if t == 0 else -z))
        for row, own in zip(LOGITS, one_hot, strict=True)
        for z, t in zip(row, own, strict=True)
    )
    assert expected > without / 2 + 0.3  # the margin shows


def test_mixed_labels_and_the_second_stage(module):
    head = head_of(module)
    labels, partners = torch.tensor(LABELS), torch.tensor([0, 1])
    targets = Targets.mixed(labels, partners, [1.0, 0.25], Clock())
    origin, mixed = [[0, 0, 1], [0, 1, 0]], [[0.75, 0, 0.25], [0, 1, 0]]
    expected = sum(map(by_hand, LOGITS * 2, origin + mixed)) / 4
    logits = torch.tensor(LOGITS * 2)
    for loss in (head.joint, head.second_joint):
        soft = targets.soft(3, logits.dtype)
        assert joint_loss(loss, logits.view(2, 2, 3), soft, targets).item() == pytest.approx(
            expected
        )


def test_the_config_says_what_it_is_for():
    assert '../configs/baselines/digits_bce.py' in FILES['mine/digits.py']
    assert "imports=['mine.your_loss']" in FILES['mine/digits.py']
