"""A million classes on a laptop: the head alone, on features that carry their class."""

from __future__ import annotations

import os

import pytest
import torch

from bce3s.engine.lazy_sgd import LazySGD
from bce3s.models import SampledTripartiteHead
from bce3s.models.targets import Targets
from bce3s.randomness import Clock
from benchmarks.timing import peak_memory

K, D, B, SEEN, STEPS = 1_000_000, 512, 16, 64, 400
FREE = os.sysconf('SC_AVPHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')


@pytest.mark.slow
@pytest.mark.skipif(FREE < 8 * 2**30, reason='needs 8 GiB of memory')
def test_it_trains_in_the_memory_of_its_parameters():
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(1)
    classes = torch.randperm(K, generator=gen)[:SEEN]
    centres = torch.randn(SEEN, D, generator=gen)
    head = SampledTripartiteHead(
        K,
        D,
        joint=dict(type='BCEJoint'),
        contrastive=dict(type='BCEContrastive'),
        uniformity=dict(type='BCEUniformity'),
        classifier=dict(type='SampledClassifier'),
        sample_rate=0.001,
    )
    sgd = LazySGD(head.parameters(), lr=20.0, momentum=0.9, weight_decay=1e-4)
    joint = []

    def step():
        drawn = torch.randint(SEEN, (B,), generator=gen)
        feats = centres[drawn] + 0.1 * torch.randn(B, D, generator=gen)
        losses = head.loss(feats, Targets.plain(classes[drawn], Clock(0, 0, len(joint))))
        sum(losses.values()).backward()
        sgd.step()
        sgd.zero_grad()
        joint.append(losses['loss_joint'].item())

    step()
    for state in sgd.state.values():
        state['momentum_buffer'].add_(0)  # all of its pages are in memory from here on
    extra = peak_memory(lambda: [step() for _ in range(STEPS)], 'cpu')
    # one (B, K) or (K, D) float32 matrix is 61 or 1,953 MiB
    assert extra is None or extra < 50 * 2**20
    assert sum(joint[-20:]) < 0.9 * sum(joint[:20])
    with torch.no_grad():
        right = (head(centres).argmax(1) == classes).sum().item()
    assert right >= 8  # of 64, among a million
