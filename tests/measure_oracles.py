"""Slow loops, transcribed from Eqs. 24-57 of the ICML 2025 paper, in float64: one for each sum.

Arrays are NumPy's; features (N, d), labels (N,), W (K, d), b (K,) with z = W h - b. Every class has
samples. Nothing of bce3s is imported here.
"""

from __future__ import annotations

import math

import numpy as np

# ------------------------------------------------------------------------------ Eqs. 39-48: scores


def scores_of(features, weight, bias):
    """[sample][class]"""
    return [[float(w @ h) - float(b) for w, b in zip(weight, bias, strict=True)] for h in features]


def accuracy(scores, labels):
    """Eqs. 41, 42; the first of equal scores is the prediction."""
    right = 0
    for z, y in zip(scores, labels, strict=True):
        prediction = 0
        for j in range(1, len(z)):
            if z[j] > z[prediction]:
                prediction = j
        right += prediction == y
    return 100 * right / len(labels)


def uniform_accuracy_at(t, scores, labels):
    """Eqs. 43, 44"""
    right = 0
    for z, y in zip(scores, labels, strict=True):
        negative = max((z[j] for j in range(len(z)) if j != y), default=-math.inf)
        right += z[y] > t >= negative
    return 100 * right / len(labels)


def uniform_accuracy(scores, labels):
    """Eq. 45: the count only rises where t reaches a sample's largest negative score."""
    candidates = [max(z[j] for j in range(len(z)) if j != y) for z, y in zip(scores, labels)]  # noqa: B905
    return max(uniform_accuracy_at(t, scores, labels) for t in candidates)


def uniform_accuracy_of_thresholds(scores, labels, number):
    """Eqs. 46-48, with the strict comparison."""
    pos = [z[y] for z, y in zip(scores, labels, strict=True)]
    neg = [z[j] for z, y in zip(scores, labels, strict=True) for j in range(len(z)) if j != y]
    if min(pos) > max(neg):
        return 100.0
    grid = [min(pos) + (max(neg) - min(pos)) * i / (number - 1) for i in range(number)]
    return max(uniform_accuracy_at(t, scores, labels) for t in grid)


# ------------------------------------------------------------------- Eqs. 24-38: neural collapse


def class_mean(features, labels, k):
    """Eq. 26"""
    total, number = np.zeros(features.shape[1]), 0
    for h, y in zip(features, labels, strict=True):
        if y == k:
            total, number = total + h, number + 1
    return total / number


def global_mean(features):
    """Eq. 27"""
    return sum(features) / len(features)


def covariances(features, labels, num_classes):
    """Eqs. 24, 25: (between, within)"""
    d = features.shape[1]
    between, within = np.zeros((d, d)), np.zeros((d, d))
    means = [class_mean(features, labels, k) for k in range(num_classes)]
    for mean in means:
        between += np.outer(mean - global_mean(features), mean - global_mean(features))
    for h, y in zip(features, labels, strict=True):
        within += np.outer(h - means[y], h - means[y])
    return between / num_classes, within / len(features)


def nc1(features, labels, num_classes):
    """Eq. 32"""
    between, within = covariances(features, labels, num_classes)
    inverse = np.linalg.pinv(between, rcond=1e-12, hermitian=True)
    return np.trace(within @ inverse) / num_classes


def distance_from_etf(gram):
    """What Eqs. 33 and 34 have in common."""
    num_classes = len(gram)
    total, norm = 0.0, math.sqrt(sum(g**2 for row in gram for g in row))
    for i in range(num_classes):
        for j in range(num_classes):
            target = ((i == j) - 1 / num_classes) / math.sqrt(num_classes - 1)
            total += (gram[i][j] / norm - target) ** 2
    return math.sqrt(total)


def nc2(weight, centred):
    """Eq. 33, and the earlier papers' without centring"""
    mean = sum(weight) / len(weight) if centred else 0 * weight[0]
    return distance_from_etf([[(u - mean) @ (v - mean) for v in weight] for u in weight])


def nc3(weight, features, labels, centred):
    """Eq. 34; with centred W, Eq. 38"""
    mean = sum(weight) / len(weight) if centred else 0 * weight[0]
    means = [class_mean(features, labels, k) - global_mean(features) for k in range(len(weight))]
    return distance_from_etf([[(w - mean) @ m for m in means] for w in weight])


def nc4(features, labels, weight, bias):
    """How often the two sides of Eq. 31 differ"""
    means = [class_mean(features, labels, k) for k in range(len(weight))]
    differing = 0
    for h, z in zip(features, scores_of(features, weight, bias), strict=True):
        distances = [float(np.linalg.norm(h - mean)) for mean in means]
        differing += z.index(max(z)) != distances.index(min(distances))
    return differing / len(features)


# --------------------------------------------------------------- Eqs. 49, 50: feature properties


def cosine(u, v):
    """0 if one of them is 0"""
    norms = float(np.linalg.norm(u) * np.linalg.norm(v))
    return float(u @ v) / norms if norms else 0.0


def compactness(features, labels, num_classes):
    """Eq. 49"""
    centre, total = global_mean(features), 0.0
    for k in range(num_classes):
        own = [h - centre for h, y in zip(features, labels, strict=True) if y == k]
        total += sum(cosine(u, v) for u in own for v in own) / len(own) ** 2
    return 50 * (total / num_classes + 1)


def distinctiveness(features, labels, num_classes):
    """Eq. 50"""
    by_class = [
        [h for h, y in zip(features, labels, strict=True) if y == k] for k in range(num_classes)
    ]
    total = 0.0
    for k in range(num_classes):
        for other in range(num_classes):
            if other != k:
                pairs = [cosine(u, v) for u in by_class[k] for v in by_class[other]]
                total += sum(pairs) / len(by_class[k]) / len(by_class[other])
    return 50 * (1 - total / num_classes / (num_classes - 1))


# ------------------------------------------------------------------ Eqs. 51-57: decision scores


def mean_and_std(values):
    """Eqs. 51-56: the deviation is divided by the number of values"""
    mean = sum(values) / len(values)
    return mean, math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))


def score_statistics(features, labels, weight):
    """Eqs. 51-54"""
    scores = scores_of(features, weight, [0.0] * len(weight))
    pos = [z[y] for z, y in zip(scores, labels, strict=True)]
    neg = [z[j] for z, y in zip(scores, labels, strict=True) for j in range(len(z)) if j != y]
    names = ('s_pos_mean', 's_pos_std', 's_neg_mean', 's_neg_std')
    return dict(zip(names, (*mean_and_std(pos), *mean_and_std(neg)), strict=True))


def alpha(b, rho, K, n, decay_w, decay_h, decay_b):
    """Eq. 57"""
    root = math.sqrt(decay_w / (n * decay_h))
    return (
        -(K - 1) / (K * (1 + math.exp(b + root * rho / (K * (K - 1)))))
        + 1 / (K * (1 + math.exp(root * rho / K - b)))
        + decay_b * b
    )
