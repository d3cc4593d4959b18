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


# ------------------------------------------------------------------------------- rivals


def power_weights(counts, p):
    raw = [n**-p for n in counts]
    return [w * len(raw) / sum(raw) for w in raw]


def simsiam(predictions, projections):
    """-cos(p_1, z_2) - cos(p_2, z_1), averaged over samples."""
    size = len(predictions[0])
    total = 0.0
    for i in range(size):
        total -= cosine(predictions[0][i], projections[1][i]) / size
        total -= cosine(predictions[1][i], projections[0][i]) / size
    return total


def glmc_joint(logits_a, logits_b, soft, weights, epoch, epochs):
    """Sum over views, mean over samples, of both classifiers; b's labels times the weights."""
    alpha, size = 1 - (epoch / epochs) ** 2, len(logits_a[0])
    total = 0.0
    for v in range(len(logits_a)):
        for i in range(size):
            weighted = [w * t for w, t in zip(weights, soft[v][i], strict=True)]
            total += alpha * ce_row(logits_a[v][i], soft[v][i]) / size
            total += (1 - alpha) * ce_row(logits_b[v][i], weighted) / size
    return total


def log_bessel(x, nu):
    """log(I_nu(x) / x^nu) by the power series sum_m (x/2)^(2m) / (m! Gamma(m + nu + 1)) / 2^nu."""
    terms = [-math.lgamma(nu + 1)]
    for m in range(1, 2000):
        log_x = math.log(x / 2) if x > 0 else -math.inf
        terms.append(2 * m * log_x - math.lgamma(m + 1) - math.lgamma(m + nu + 1))
    top = max(terms)
    return top + math.log(sum(math.exp(term - top) for term in terms)) - nu * math.log(2)


def vmf_logits(features, means, tau):
    """log C(kappa_k) - log C(|kappa_k mu_k + f / tau|), C(x) = c x^nu / I_nu(x)."""
    dim = len(means[0])
    nu, result = dim / 2 - 1, []
    for f in features:
        result.append([])
        for mean in means:
            length = math.sqrt(sum(m * m for m in mean))
            kappa = min(1e5, dim * length / (1 - length**2))
            shifted = [kappa * m / length + v / tau for m, v in zip(mean, f, strict=True)]
            moved = math.sqrt(sum(v * v for v in shifted))
            result[-1].append(log_bessel(moved, nu) - log_bessel(kappa, nu))
    return result


def class_means(epochs, dim, unseen):
    """Of the features of this epoch and the one before, class by class; ``epochs`` is a list of
    lists of (class, feature)."""
    means = []
    for k in range(len(unseen)):
        kept = [[f for y, f in epoch if y == k] for epoch in epochs]
        earlier = [features for features in kept[:-1] if features]
        used = kept[-1] + (earlier[-1] if earlier else [])
        means.append(
            [sum(f[d] for f in used) / len(used) for d in range(dim)] if used else unseen[k]
        )
    return means


def reversed_prior(counts):
    """Each class has the prior of the one as many places from the other end of their order."""
    order = sorted(range(len(counts)), key=lambda k: (counts[k], k))
    priors = [None] * len(counts)
    for place, k in enumerate(order):
        priors[k] = counts[order[-1 - place]] / sum(counts)
    return priors


def inverse_softmax_row(z, t, counts, tau):
    prior, other = [n / sum(counts) for n in counts], reversed_prior(counts)
    terms = zip(z, prior, other, strict=True)
    return ce_row([v + math.log(p) - tau * math.log(q) for v, p, q in terms], t)


def softmax(z):
    top = max(z)
    powers = [math.exp(v - top) for v in z]
    return [p / sum(powers) for p in powers]


def expert_divergence(logits, temperature, mean=None):
    """mean(T)^2 sum_e KL(softmax(mean / T) || softmax(z_e / T)) of one sample's logits (E, K)."""
    size = len(temperature)
    if mean is None:
        mean = [sum(z[k] for z in logits) / len(logits) for k in range(size)]
    p = softmax([m / t for m, t in zip(mean, temperature, strict=True)])
    total = 0.0
    for z in logits:
        q = softmax([v / t for v, t in zip(z, temperature, strict=True)])
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return (sum(temperature) / size) ** 2 * total


def class_temperatures(counts, spread):
    values = [len(counts) * n / sum(counts) * spread + 1 - spread for n in counts]
    return [v / max(values) for v in values]


def balanced_contrastive(place, keys, labels, tau):
    """Of the anchor that is keys[place]: the keys of each class averaged, itself left out."""
    own = labels[place]
    scores = [sum(a * b for a, b in zip(keys[place], key, strict=True)) / tau for key in keys]
    denominator = 0.0
    for k in set(labels):
        powers = [math.exp(s) for i, s in enumerate(scores) if labels[i] == k and i != place]
        denominator += sum(powers) / len(powers) if powers else 0.0
    positives = [s for i, s in enumerate(scores) if labels[i] == own and i != place]
    if not positives:
        return 0.0
    return -sum(s - math.log(denominator) for s in positives) / len(positives)


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


def asymmetric_row(z, t, positive_gamma, negative_gamma, margin):
    """-sum_j t_j (1 - p_j)^g+ log p_j + (1 - t_j) q_j^g- log(1 - q_j), q_j = max(p_j - m, 0)."""
    total = 0.0
    for x, y in zip(z, t, strict=True):
        if math.isnan(y):
            continue
        p = 1 / (1 + math.exp(-x))
        q = max(p - margin, 0.0)
        total -= y * (1 - p) ** positive_gamma * math.log(p)
        total -= (1 - y) * q**negative_gamma * math.log(1 - q)
    return total


def distribution_balanced_row(z, t, frequencies, alpha, beta, mu, scale, kappa, gamma):
    """sum_j r_j (t_j f(a_j) + (1 - t_j) f(-l a_j) / l), f(x) = sigmoid(-x)^g softplus(-x)."""

    def focal(x):
        return (1 / (1 + math.exp(x))) ** gamma * softplus(-x)

    drawn = sum(y / pi for y, pi in zip(t, frequencies, strict=True) if y > 0)
    total = 0.0
    for x, y, pi in zip(z, t, frequencies, strict=True):
        if math.isnan(y):
            continue
        exponent = math.exp(-beta * (1 / pi / drawn - mu)) if drawn else 0.0
        r = alpha + 1 / (1 + exponent)
        a = x + kappa * math.log(pi / (1 - pi))
        total += r * (y * focal(a) + (1 - y) * focal(-scale * a) / scale)
    return total


def cooccurrence_uniformity(weight, labels):
    """1/K sum_k sum_{j != k} (1 - n_kj / sqrt(n_k n_j)) softplus(w_k . w_j / |w_k| |w_j|)"""
    total = 0.0
    for k, own in enumerate(weight):
        for j, other in enumerate(weight):
            if j != k:
                both = sum(row[k] == row[j] == 1 for row in labels)
                n_k, n_j = (sum(row[m] == 1 for row in labels) for m in (k, j))
                share = both / math.sqrt(n_k * n_j)
                total += (1 - share) * softplus(cosine(own, other))
    return total / len(weight)


def bank_after_several(features, filled, batch, labels):
    """Each class takes the row of its sample with the fewest labels, the last of such."""
    features, filled = features.copy(), filled.copy()
    for k in range(len(filled)):
        fewest = None
        for row, has in zip(batch, labels, strict=True):
            count = sum(value == 1 for value in has)
            if has[k] == 1 and (fewest is None or count <= fewest):
                fewest, features[k], filled[k] = count, row, True
    return features, filled


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
