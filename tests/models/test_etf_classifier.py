"""Classifiers with fixed angles."""

from __future__ import annotations

import copy

import pytest
import torch

from bce3s.errors import BCE3SError
from bce3s.losses import CEJoint, DotRegression
from bce3s.models import ETFClassifier, RotatedETFClassifier, TripartiteHead, simplex_etf


@pytest.mark.parametrize(('num_classes', 'dim'), [(2, 1), (4, 3), (10, 10), (10, 64), (100, 128)])
def test_all_angles_are_those_of_a_simplex(num_classes, dim):
    simplex = simplex_etf(num_classes, dim)
    expected = torch.full((num_classes, num_classes), -1 / (num_classes - 1), dtype=torch.float64)
    torch.testing.assert_close(simplex @ simplex.T, expected.fill_diagonal_(1))
    assert not torch.allclose(simplex, simplex_etf(num_classes, dim)) or num_classes == 2


def test_too_few_features():
    for classifier in (ETFClassifier, RotatedETFClassifier):
        with pytest.raises(BCE3SError, match='100 classes needs features of at least 99 numbers'):
            classifier(64, 100)
    with pytest.raises(BCE3SError, match='two classes at least'):
        ETFClassifier(64, 1)


def test_scores_are_scaled_cosines():
    torch.manual_seed(0)
    x = torch.randn(5, 9)
    for classifier in (ETFClassifier(9, 10, scale=3.0), RotatedETFClassifier(9, 10, scale=3.0)):
        weight, bias = classifier.rows()
        assert bias is None
        cosines = torch.nn.functional.cosine_similarity(x[:, None], weight[None], dim=-1)
        torch.testing.assert_close(classifier(x), 3 * cosines)
        torch.testing.assert_close(classifier.embed(x) @ classifier.linear()[0].T, classifier(x))


def test_nothing_of_it_is_trained_but_saved():
    head = TripartiteHead(10, 9, DotRegression(), classifier=ETFClassifier(9, 10))
    assert list(head.classifier.parameters()) == []
    fresh = TripartiteHead(10, 9, DotRegression(), classifier=ETFClassifier(9, 10))
    fresh.load_state_dict(head.state_dict())
    assert torch.equal(fresh.classifier.weight, head.classifier.weight)
    head.set_class_counts([1] * 10)
    with pytest.raises(BCE3SError, match='ETFClassifier is fixed'):
        head.finetune()


def test_the_rotation_is_learnt_and_the_angles_stay():
    torch.manual_seed(0)
    classifier = RotatedETFClassifier(6, 5, scale=4.0)
    torch.testing.assert_close(classifier.rows()[0], classifier.weight)
    start = copy.deepcopy(classifier)
    x, labels = torch.randn(20, 6), torch.arange(20) % 5
    optimizer = torch.optim.SGD(classifier.parameters(), 0.5)
    losses = []
    for _ in range(50):
        losses.append(CEJoint()(classifier(x), labels))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 0.1
    weight = classifier.rows()[0]
    assert (weight - start.rows()[0]).abs().max() > 0.1
    torch.testing.assert_close(weight @ weight.T, start.weight @ start.weight.T, atol=1e-5, rtol=0)
    start.load_state_dict(classifier.state_dict())
    torch.testing.assert_close(start(x), classifier(x))
    torch.testing.assert_close(classifier.rows(torch.tensor([3, 1]))[0], weight[[3, 1]])


def test_gradient_of_the_rotation():
    torch.manual_seed(0)
    classifier = RotatedETFClassifier(5, 4, scale=2.0).double()
    x, labels = torch.randn(6, 5, dtype=torch.float64), torch.arange(6) % 4
    (name, start), *_ = classifier.named_parameters()
    turned = start + 0.3 * torch.randn_like(start)  # away from the identity

    def loss(turned, x):
        logits = torch.func.functional_call(classifier, {name: turned}, (x,))
        return CEJoint()(logits, labels)

    inputs = (turned.detach().requires_grad_(), x.requires_grad_())
    assert torch.autograd.gradcheck(loss, inputs)
