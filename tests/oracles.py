"""Slow loops, transcribed from the equations, in float64: what the fast code is tested against.

Plain Python over plain numbers, one loop per sum sign; nothing of bce3s is imported here.
"""

from __future__ import annotations

import math

import numpy as np

# ------------------------------------------------------------------------------- one row of scores


def softplus(z):
    """log(1 + exp(z)), without overflow."""
    return max(z, 0.0) + math.log1p(math.exp(-abs(z)))


def soft_label(label, partner, lam, num_classes):
    """lam on the own class, 1 - lam on the partner's (the same class gets both)."""
    row = [0.0] * num_classes
    row[label] += lam
    if partner is not None:
        row[partner] += 1 - lam
    return row


def soft_labels(labels, partners, lams, num_classes):
    """[view][sample][class]"""
    partners = [None] * len(labels) if partners is None else partners
    return [
        [soft_label(y, p, lam, num_classes) for y, p in zip(labels, partners, strict=True)]
        for lam in lams
    ]


def bce_row(z, t, classes=None, soft_negatives=True, clamp=None):
    """sum_j t_j softplus(-z_j) + (1 - t_j) softplus(z_j), over the classes that count."""
    total = 0.0
    for j in range(len(z)) if classes is None else classes:
        score = z[j] if clamp is None else min(max(z[j], -clamp), clamp)
        total += t[j] * softplus(-score)
        if soft_negatives:
            total += (1 - t[j]) * softplus(score)
        elif t[j] == 0:
            total += softplus(score)
    return total


def ce_row(z, t, classes=None):
    """-sum_j t_j log(exp(z_j) / sum_l exp(z_l)), over the classes that exist."""
    classes = list(range(len(z)) if classes is None else classes)
    if not classes:
        return 0.0
    top = max(z[j] for j in classes)
    log_sum = top + math.log(sum(math.exp(z[j] - top) for j in classes))
    return sum(t[j] * (log_sum - z[j]) for j in classes)


# ------------------------------------------------------------------------------- the three branches


def joint(row, logits, soft, classes=None, weights=None):
    """Mean over views and samples; ``classes`` restricts the origin view (the first) only."""
    views, size = len(logits), len(logits[0])
    total = 0.0
    for v in range(views):
        for i in range(size):
            weight = 1.0 if weights is None else weights[i]
            total += weight * row(logits[v][i], soft[v][i], classes if v == 0 else None) / size
    return total / views


def cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / (math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b)))


def contrastive(row, projections, bank, filled, soft, tau, views):
    """sum over views, mean over samples; classes not yet seen are no term at all."""
    classes = [j for j in range(len(bank)) if filled[j]]
    total = 0.0
    for v in views:
        for i, z in enumerate(projections[v]):
            scores = [
                cosine(z, m) / tau if seen else None for m, seen in zip(bank, filled, strict=True)
            ]
            total += row(scores, soft[v][i], classes) / len(projections[v])
    return total


def uniformity_bce(weight, include_diagonal=False):
    """mean over k of sum_{j != k} softplus(w_k . w_j), w of unit length."""
    total = 0.0
    for k, w_k in enumerate(weight):
        for j, w_j in enumerate(weight):
            if j != k:
                total += softplus(cosine(w_k, w_j))
            elif include_diagonal:
                total += softplus(-cosine(w_k, w_j))
    return total / len(weight)


def uniformity_ce(weight):
    """Softmax cross-entropy over w_k . w_j with k itself as the positive, mean over k."""
    size = len(weight)
    total = 0.0
    for k in range(size):
        scores = [cosine(weight[k], weight[j]) for j in range(size)]
        total += ce_row(scores, soft_label(k, None, 1.0, size))
    return total / size


# ------------------------------------------------------------------------------- classes and memory


def class_balanced(counts, beta):
    """(1 - beta) / (1 - beta^n_k), scaled so that they sum to K."""
    raw = [(1 - beta) / (1 - beta**n) for n in counts]
    return [w * len(raw) / sum(raw) for w in raw]


def bank_after(features, filled, batch, labels):
    """The bank after a batch: sample by sample, so that the last of a class stays."""
    features, filled = np.array(features, copy=True), np.array(filled, copy=True)
    for x, y in zip(batch, labels, strict=True):
        features[y] = x
        filled[y] = True
    return features, filled


def check_resampled(chosen, labels, num_classes, r, drop_positives):
    """int(K r) classes, at least one: those of the batch first, the rest at random; more present
    than that: all of them (fixed) or that many of them (official)."""
    chosen, present, size = set(chosen), set(labels), max(1, int(num_classes * r))
    assert chosen <= set(range(num_classes))
    if len(present) <= size:
        assert present <= chosen
        assert len(chosen) == size
    elif drop_positives:
        assert chosen < present
        assert len(chosen) == size
    else:
        assert chosen == present


# ----------------------------------------------------------------------------- mixing and schedule


def mixup(images, partners, lam):
    mixed = np.empty_like(images)
    for index in np.ndindex(*images.shape):
        mixed[index] = lam * images[index] + (1 - lam) * partners[index]
    return mixed


def cutmix_box(height, width, lam, centre):
    """The box of sides H sqrt(1 - lam), W sqrt(1 - lam) (whole pixels) about a centre, clipped."""
    bounds = []
    for length, middle in zip((height, width), centre, strict=True):
        half = int(length * math.sqrt(1 - lam)) // 2
        bounds.append((max(middle - half, 0), min(middle + half, length)))
    return bounds


def cutmix(images, partners, box):
    """Mixed images, and the share of the area that is left of the image itself."""
    (top, bottom), (left, right) = box
    mixed, own = images.copy(), 0
    height, width = images.shape[2:]
    for y in range(height):
        for x in range(width):
            if top <= y < bottom and left <= x < right:
                mixed[:, :, y, x] = partners[:, :, y, x]
            else:
                own += 1
    return mixed, own / (height * width)


def cosine_lr(lr, epoch, epochs):
    """lr (1 + cos(pi (e + 1)/E))/2: the last epoch trains at 0."""
    return lr * (1 + math.cos(math.pi * (epoch + 1) / epochs)) / 2


# ------------------------------------------------------------------------------- gradients


def gradient(function, x, step=1e-6):
    """Central differences of a scalar function of an array."""
    x = np.array(x, dtype=np.float64)
    result = np.empty_like(x)
    for index in np.ndindex(*x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[index] += step
        behind[index] -= step
        result[index] = (function(ahead) - function(behind)) / (2 * step)
    return result


# ------------------------------------------------------------- losses that know the class counts


def prior(counts):
    return [n / sum(counts) for n in counts]


def logit_adjusted_row(z, t, counts, tau=1.0, gamma=0.0):
    """CE of (n_j / n_max)^gamma z_j + tau log pi_j."""
    pi, top = prior(counts), max(counts)
    moved = [
        (n / top) ** gamma * score + tau * math.log(p)
        for score, n, p in zip(z, counts, pi, strict=True)
    ]
    return ce_row(moved, t)


def balanced_bce_row(z, t, counts, tau=1.0, beta=None):
    """BCE of z_j + tau log(pi_j / (1 - pi_j)), column j weighted."""
    columns = [1.0] * len(z) if beta is None else class_balanced(counts, beta)
    total = 0.0
    for score, share, p, weight in zip(z, t, prior(counts), columns, strict=True):
        moved = score + tau * math.log(p / (1 - p))
        total += weight * (share * softplus(-moved) + (1 - share) * softplus(moved))
    return total


def focal_ce_row(z, t, gamma):
    total = 0.0
    for j, share in enumerate(t):
        p = math.exp(z[j]) / sum(math.exp(score) for score in z)
        total -= share * (1 - p) ** gamma * math.log(p)
    return total


def focal_bce_row(z, t, gamma):
    total = 0.0
    for score, share in zip(z, t, strict=True):
        p = 1 / (1 + math.exp(-score))
        total -= share * (1 - p) ** gamma * math.log(p)
        total -= (1 - share) * p**gamma * math.log(1 - p)
    return total


def ldam_row(z, t, counts, max_margin, scale):
    """z_j = s cos_j; s (cos_j - m_j) of the own class, C such that the largest margin is given."""
    raw = [n ** (-1 / 4) for n in counts]
    margins = [max_margin * m / max(raw) for m in raw]
    moved = [
        scale * (score / scale - m * share) for score, m, share in zip(z, margins, t, strict=True)
    ]
    return ce_row(moved, t)


def label_aware_row(z, t, counts, head, tail):
    """The targets (1 - eps_y) e_y + eps_y / K of each class y, by its share of the label."""
    low, high, size = min(counts), max(counts), len(z)
    total = 0.0
    for y, share in enumerate(t):
        eps = tail + (head - tail) * math.sin(
            math.pi * (counts[y] - low) / (2 * (high - low)) if high > low else math.pi / 2
        )
        target = [eps / size + (1 - eps) * (j == y) for j in range(size)]
        total += share * ce_row(z, target)
    return total


def dot_regression_row(z, t):
    return sum(share * (score - 1) ** 2 / 2 for score, share in zip(z, t, strict=True))


def batch_balanced(labels, num_classes):
    """Each class that the batch has weighs alike; the mean over its samples is 1."""
    present = set(labels)
    return [
        len(labels) / (len(present) * labels.count(k)) if k in present else 0.0
        for k in range(num_classes)
    ]


def center_terms(features, labels, centers, compactness, separation):
    size = len(centers)
    first = 0.0
    for k in range(size):
        own = [h for h, y in zip(features, labels, strict=True) if y == k]
        squares = [sum((a - b) ** 2 for a, b in zip(h, centers[k], strict=True)) for h in own]
        first += sum(squares) / len(own) / size if own else 0.0
    mean = [sum(column) / size for column in zip(*centers, strict=True)]
    moved = [[a - m for a, m in zip(c, mean, strict=True)] for c in centers]
    second = 0.0
    for k in range(size):
        nearest = max(cosine(moved[k], moved[j]) for j in range(size) if j != k)
        second -= math.acos(min(max(nearest, -0.99999), 0.99999)) / size
    return compactness * first + separation * second
