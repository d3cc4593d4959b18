"""The root of Eq. 12, the cap of the bias and the closed form, against slow searches."""

import math
import subprocess
import sys
from dataclasses import astuple

import numpy as np
import pytest
from scipy.optimize import brentq, minimize, minimize_scalar

from bce3s.errors import BCE3SError
from bce3s.evaluation.decision_scores import alpha
from bce3s.theory.bias_equation import bias_cap, joint_root, theorem_holds
from bce3s.theory.closed_form import bce_minimum, ce_minimum, theorem_point
from bce3s.theory.decays import Decays, check_no_collapse, price
from bce3s.theory.imbalance import collapse_ratio
from bce3s.theory.unconstrained import Problem, bce, minimise
from studies.published import published

PAPER = Decays.equal(5e-4)
SETTINGS = [
    (10, 100, PAPER),
    (10, 12, PAPER),
    (10, 12.8, Decays(5e-4, 5e-4, 0.0)),
    (10, 12.8, Decays(5e-4, 5e-4, 0.5)),
    (3, 7, Decays(2e-2, 1e-3, 1e-4)),
    (2, 20, Decays(1e-3, 3e-3, 5e-4)),
    (100, 1.28, PAPER),
]


def softplus(x):
    return np.logaddexp(0, x)


def etf_value(rho, b, classes, samples, decays):
    """f of a simplex ETF with ||W||^2 = rho, H by Eq. 8 and b 1: Eq. 3 with Eqs. 13, 14."""
    s = math.sqrt(decays.weight / (samples * decays.feature)) * rho / classes
    loss = softplus(b - s) + (classes - 1) * softplus(-s / (classes - 1) - b)
    return loss + decays.weight * rho + decays.bias * classes * b**2 / 2


def bias_equation(b, rho, classes, samples, decays):
    """Eq. 12: 0 at the bias of the lowest simplex ETF with ||W||^2 = rho."""
    return alpha(b, rho, classes, samples, decays.weight, decays.feature, decays.bias)


def bias_root(rho, classes, samples, decays):
    """By bracketing: it is the only one (Lemma C.8), and never negative."""
    args = (rho, classes, samples, decays)
    if bias_equation(0.0, *args) >= 0:
        return 0.0
    return brentq(bias_equation, 0.0, 1e3, args=args, xtol=1e-14, rtol=1e-14)


def search(classes, samples, decays, nonnegative=False):
    """The minimum over gap, shift and bias, from many starts without derivatives."""
    tau = math.sqrt(samples * decays.weight * decays.feature)

    def value(point):
        gap, shift, b = point
        norm = (classes - 1) * abs(gap) + classes * abs(shift)
        if nonnegative and classes * abs(shift) <= abs(gap):
            norm = math.sqrt(classes * ((classes - 1) * gap**2 + classes**2 * shift**2))
        loss = softplus(b - shift - gap * (classes - 1) / classes)
        loss += (classes - 1) * softplus(shift - gap / classes - b)
        return loss + tau * norm + decays.bias * classes * b**2 / 2

    best = None
    for gap, shift in ((5, -0.01), (8, -3), (1, -0.5)):
        start = np.array([gap, shift, 1.0])
        for _ in range(4):
            options = dict(xatol=1e-10, fatol=1e-15, maxiter=4000)
            end = minimize(value, start, method='Nelder-Mead', options=options)
            start = end.x
        if best is None or end.fun < best.fun:
            best = end
    return best


# ------------------------------------------------------------ the root
@pytest.mark.parametrize(('classes', 'samples', 'decays'), SETTINGS)
def test_the_bias_equation_is_a_derivative_with_one_root(classes, samples, decays):
    rho = 30.0 * classes
    for b in (-1.0, 0.0, 0.7, 4.0):
        up, down = (etf_value(rho, b + e, classes, samples, decays) for e in (1e-5, -1e-5))
        value = bias_equation(b, rho, classes, samples, decays)
        assert value == pytest.approx((up - down) / 2e-5 / classes, abs=1e-8)
    root, grid = bias_root(rho, classes, samples, decays), np.linspace(-30, 30, 401)
    values = np.array([bias_equation(b, rho, classes, samples, decays) for b in grid])
    assert (values[grid < root - 0.01] < 0).all()
    assert (values[grid > root + 0.01] > 0).all()


@pytest.mark.parametrize(('classes', 'samples', 'decays'), SETTINGS)
def test_joint_root_is_the_lowest_etf(classes, samples, decays):
    """Against a search over rho with the bracketed root b*(rho) inside."""

    def value(rho):
        return etf_value(rho, bias_root(rho, classes, samples, decays), classes, samples, decays)

    b, rho = joint_root(classes, samples, decays)
    slow = minimize_scalar(value, bounds=(0, 4 * rho), method='bounded', options=dict(xatol=1e-9))
    assert rho == pytest.approx(slow.x, rel=1e-5)
    assert b == pytest.approx(bias_root(rho, classes, samples, decays), abs=1e-10)
    assert value(rho) <= slow.fun + 1e-14


def test_published_facts():
    assert joint_root(10, 12, PAPER)[0] == pytest.approx(4.535, abs=5e-4)
    assert joint_root(10, 100, PAPER)[0] == pytest.approx(4.139896, abs=5e-7)
    assert bias_cap(12, PAPER) == pytest.approx(3.4641, abs=5e-5)
    assert not theorem_holds(10, 12, PAPER)
    assert theorem_holds(10, 100, PAPER)
    assert bias_cap(12, Decays(5e-4, 5e-4, 0)) == math.inf


def test_tiny_and_large_bias_decay():
    """Where one or the other of two ways to write b loses its digits."""
    free = joint_root(10, 100, Decays(5e-4, 5e-4, 0))[0]
    assert joint_root(10, 100, Decays(5e-4, 5e-4, 1e-14))[0] == pytest.approx(free, abs=1e-9)
    for decay in (10.0, 1e4):
        decays = Decays(5e-4, 5e-4, decay)
        b, rho = joint_root(10, 100, decays)
        assert b == pytest.approx(bias_root(rho, 10, 100, decays), abs=1e-11)
        assert 0 < b < 0.05


def test_two_classes_have_no_bias():
    assert joint_root(2, 20, PAPER)[0] == pytest.approx(0, abs=1e-12)
    for decay in (1e-3, 50.0):
        assert theorem_holds(2, 20, Decays(5e-4, 5e-4, decay))
        assert bce_minimum(2, 20, Decays(5e-4, 5e-4, decay)).regime == 'centred'


# ------------------------------------------------------------ the minimum
@pytest.mark.parametrize(('classes', 'samples', 'decays'), SETTINGS)
@pytest.mark.parametrize('nonnegative', [False, True])
def test_closed_form_against_a_search(classes, samples, decays, nonnegative):
    minimum = bce_minimum(classes, samples, decays, nonnegative)
    slow = search(classes, samples, decays, nonnegative)
    assert minimum.objective <= slow.fun + 1e-12
    assert minimum.objective == pytest.approx(slow.fun, abs=1e-8)
    found = [minimum.gap, minimum.shift, minimum.bias]
    np.testing.assert_allclose(found, slow.x, atol=2e-3)


def test_cap_over_many_settings():
    """b = min(root, cap); below the theorem's point just where the condition says."""
    random, seen = np.random.default_rng(0), set()
    for _ in range(300):
        classes, samples = int(random.integers(2, 60)), float(random.uniform(0.5, 200))
        decays = Decays(*10 ** random.uniform(-6, -2.5, 3).clip(-6, -2.5))
        if classes * price(samples, decays) >= 1:
            continue
        root, _ = joint_root(classes, samples, decays)
        minimum, point = (form(classes, samples, decays) for form in (bce_minimum, theorem_point))
        assert minimum.bias == pytest.approx(min(root, bias_cap(samples, decays)), rel=1e-9)
        holds = theorem_holds(classes, samples, decays)
        assert minimum.regime == ('centred' if holds else 'shifted')
        assert (minimum.shift == 0) == holds
        assert minimum.objective <= point.objective + 1e-15
        if not holds:
            assert minimum.shift < 0
            held = bce_minimum(classes, samples, decays, nonnegative=True)
            assert held.objective >= minimum.objective - 1e-15
        seen.add(holds)
    assert seen == {True, False}


def test_regimes_meet():
    """Across the threshold in n the minimum is continuous."""
    below, above = 10, 40
    while above - below > 1e-9:
        middle = (below + above) / 2
        below, above = (below, middle) if theorem_holds(10, middle, PAPER) else (middle, above)
    assert 19 < above < 20.5
    for nonnegative in (False, True):
        pair = [bce_minimum(10, n, PAPER, nonnegative) for n in (below, above)]
        np.testing.assert_allclose(astuple(pair[0])[1:], astuple(pair[1])[1:], atol=1e-5)


@pytest.mark.parametrize('bias_decay', [0.0, 5e-4, 5.0])
def test_all_classes_fall_together(bias_decay):
    """tau >= 1/K, whatever lambda_b is: gap 0, as found by minimisation; just below it is not."""
    samples = 25.0
    limit = 1 / (4 * 5)  # 1 / (K sqrt(n))
    above = Decays(1.02 * limit, 1.02 * limit, bias_decay)
    below = Decays(0.98 * limit, 0.98 * limit, bias_decay)
    minimum = bce_minimum(4, samples, above)
    assert (minimum.regime, minimum.gap) == ('collapsed', 0.0)
    assert ce_minimum(4, samples, above).regime == 'collapsed'
    assert ce_minimum(4, samples, above).objective == pytest.approx(math.log(4))
    assert bce_minimum(4, samples, below).gap > 0
    assert ce_minimum(4, samples, below).gap > 0
    end = minimise(Problem.balanced(4, 25, 6, bce, above))
    assert end.objective == pytest.approx(minimum.objective, abs=1e-10)
    assert np.abs(end.weight - end.weight.mean(0)).max() < 1e-3
    with pytest.raises(BCE3SError, match='does not tell the classes apart'):
        check_no_collapse(4, samples, above)
    with pytest.raises(BCE3SError, match='does not tell the classes apart'):
        joint_root(4, samples, above)


def test_ce_minimum_is_stationary():
    minimum = ce_minimum(5, 30, Decays(1e-3, 2e-3, 1e-4))
    tau = price(30, Decays(1e-3, 2e-3, 1e-4))

    def value(gap):
        return math.log(1 + 4 * math.exp(-gap)) + tau * 4 * gap

    assert minimum.objective == pytest.approx(value(minimum.gap), rel=1e-14)
    assert minimum.objective < min(value(minimum.gap + 0.01), value(minimum.gap - 0.01))
    assert (minimum.bias, minimum.shift) == (0, 0)


# ------------------------------------------------------------ the paper's own numbers
def test_table_11_obeys_the_cap():
    """AdamW's b at batch 16, 32, 64 is the cap, not the root; SGD stays below it everywhere."""
    for batch in (16, 32, 64):
        b, *others = published(11)['bce', 'adamw', str(batch)]
        minimum = bce_minimum(10, batch / 10, PAPER)
        assert minimum.regime == 'shifted'
        assert b == pytest.approx(math.sqrt(batch / 10), abs=0.004)
        assert joint_root(10, batch / 10, PAPER)[0] > b + 2
        np.testing.assert_allclose((minimum.rho, minimum.s_pos, minimum.s_neg), others, rtol=0.006)
    for (loss, _, batch), (b, *_) in published(11).items():
        if loss == 'bce':
            assert b < bias_cap(int(batch) / 10, PAPER) + 0.001


def held(form, samples, decays=PAPER):
    found = form(10, samples, decays, nonnegative=True)
    return found.bias, found.rho, found.s_pos, found.s_neg


def test_features_after_a_relu_explain_the_tables():
    """Every published number within 2 %, where training had converged, by the form with H >= 0."""
    for batch in (256, 512):
        row = published(11)['bce', 'adamw', str(batch)]
        ours, free = held(bce_minimum, batch / 10), bce_minimum(10, batch / 10, PAPER)
        np.testing.assert_allclose(ours, row, rtol=0.02)
        assert abs(free.bias - row[0]) > 10 * abs(ours[0] - row[0])
    for (loss, optimiser, decay), row in published(10).items():
        if (loss, optimiser) == ('bce', 'adamw'):
            ours = held(bce_minimum, 12.8, Decays(5e-4, 5e-4, float(decay)))
            np.testing.assert_allclose(ours, row, rtol=0.02)
    for batch in (16, 32, 64, 128, 256, 512):
        row = published(11)['ce', 'adamw', str(batch)]
        np.testing.assert_allclose(held(ce_minimum, batch / 10)[1:], row[1:], rtol=0.01)
    assert published(8)['r18', 'bce', 'adamw'][0] == pytest.approx(bias_cap(1.28, PAPER), abs=4e-4)
    free_bias = Decays(5e-4, 5e-4, 0)
    for (loss, optimiser, _), row in published(9).items():
        if (loss, optimiser) == ('bce', 'adamw'):
            ours = held(bce_minimum, 12.8, free_bias)
            assert row[0] == pytest.approx(ours[0], abs=5e-4)
            np.testing.assert_allclose(ours, row, rtol=0.02)


# ------------------------------------------------------------ minority collapse
def test_collapse_ratio_meets_the_count():
    decays = Decays(4e-3, 6e-3, 0.0)
    ratio = collapse_ratio(100, (5, 5), decays)
    total = 5 * 100 + 5 * 100 / ratio
    most = decays.weight * decays.feature * total**2  # lambda_W lambda_H N^2
    assert 100 / ratio == pytest.approx(most, rel=1e-12)
    assert ratio > 1
    with pytest.raises(BCE3SError, match='even at 100 samples'):
        collapse_ratio(100, (5, 5), Decays(0.02, 0.02, 0))
    with pytest.raises(BCE3SError, match='0 majority'):
        collapse_ratio(100, (0, 5), decays)


def test_balanced_collapse_is_the_same_limit():
    """n <= lambda_W lambda_H (n K)^2 is sqrt(n lambda_W lambda_H) >= 1/K."""
    limit = Decays.equal(1 / (6 * math.sqrt(9)))
    assert limit.weight * limit.feature * (9 * 6) ** 2 == pytest.approx(9)
    assert 6 * price(9, limit) == pytest.approx(1)


# ------------------------------------------------------------ bad input
@pytest.mark.parametrize(
    ('values', 'said'),
    [
        ((0, 1e-3, 0), 'lambda_W is 0'),
        ((1e-3, -1, 0), 'lambda_H is -1'),
        ((1e-3, 1e-3, -1), 'lambda_b is -1'),
        ((float('nan'), 1, 0), 'lambda_W is nan'),
        ((1, 1, float('inf')), 'lambda_b is inf'),
    ],
)
def test_bad_decays(values, said):
    with pytest.raises(BCE3SError, match=said):
        Decays(*values)


@pytest.mark.parametrize('form', [bce_minimum, ce_minimum, theorem_point, joint_root])
def test_bad_sizes(form):
    with pytest.raises(BCE3SError, match='at least 2'):
        form(1, 10, PAPER)
    with pytest.raises(BCE3SError, match='0 samples per class'):
        form(3, 0, PAPER)


def test_theory_needs_no_framework():
    code = (
        'import sys, bce3s.theory.closed_form, bce3s.theory.unconstrained, bce3s.theory.imbalance; '
        "sys.exit(any(name in sys.modules for name in ('torch', 'mmengine', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
