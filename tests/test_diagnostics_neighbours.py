"""Nearest-neighbour estimators against closed forms and against a double loop."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmlab.diagnostics import knn_entropy, ksg, ksg_ceiling


def correlated(n, rho, dim=1, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, dim))
    return x, rho * x + math.sqrt(1 - rho**2) * rng.standard_normal((n, dim))


def double_loop(x, z, k):
    """Kraskov's first estimator as it is printed, with no tree."""
    from scipy.special import digamma

    n, total = len(x), 0.0
    for i in range(n):
        near_x = [np.abs(x[i] - x[j]).max() for j in range(n) if j != i]
        near_z = [np.abs(z[i] - z[j]).max() for j in range(n) if j != i]
        radius = sorted(max(a, b) for a, b in zip(near_x, near_z, strict=True))[k - 1]
        inside_x, inside_z = (sum(a < radius for a in near) for near in (near_x, near_z))
        total += digamma(inside_x + 1) + digamma(inside_z + 1)
    return digamma(k) + digamma(n) - total / n


@pytest.mark.parametrize("rho", [0.5, 0.6, 0.9])
def test_ksg_gaussian_oracle(rho):
    exact = -math.log(1 - rho**2) / 2
    if rho != 0.5:
        assert exact == pytest.approx({0.6: 0.223144, 0.9: 0.830366}[rho], abs=1e-6)
    for seed in range(5):
        assert abs(ksg(*correlated(5000, rho, seed=seed)) - exact) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.5, 0.9])
def test_ksg_in_two_plus_two_dimensions(rho):
    exact = -math.log(1 - rho**2)
    for seed in range(3):
        assert abs(ksg(*correlated(10_000, rho, dim=2, seed=seed)) - exact) < 0.05


def test_ksg_of_independent_samples_is_zero_on_average():
    found = [ksg(*correlated(500, 0.0, dim=2, seed=seed)) for seed in range(40)]
    assert abs(np.mean(found)) < 4 * np.std(found) / math.sqrt(len(found))
    assert min(found) < 0  # not clipped: clipping would bias the mean


def test_ksg_on_the_linear_gaussian_model():
    rng = np.random.default_rng(0)
    z = rng.standard_normal(5000)
    x = 2 * z + 0.5 * rng.standard_normal(5000)
    assert ksg(x, z) == pytest.approx(1.416607, abs=0.05)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.sampled_from([(1, 1), (2, 2), (1, 3)]), st.sampled_from([1, 5])
)
def test_ksg_equals_the_double_loop(seed, dims, k):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((60, dims[0]))
    z = rng.standard_normal((60, dims[1])) + x[:, :1]
    assert ksg(x, z, k) == pytest.approx(double_loop(x, z, k), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
def test_ksg_ignores_a_common_unit_the_order_of_rows_and_which_side_is_which(seed, unit):
    x, z = correlated(150, 0.7, dim=2, seed=seed)
    expected = ksg(x, z)
    assert ksg(unit * x, unit * z) == pytest.approx(expected, abs=1e-9)
    assert ksg(z, x) == pytest.approx(expected, abs=1e-12)
    order = np.random.default_rng(seed).permutation(150)
    assert ksg(x[order], z[order]) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("k", [1, 5])
def test_ksg_never_passes_its_ceiling_and_reaches_it_when_x_is_z(k):
    x, _ = correlated(400, 0.0, dim=2)
    assert ksg(x, x, k) == pytest.approx(ksg_ceiling(400, k), abs=1e-12)
    assert ksg(x, x**3, k) <= ksg_ceiling(400, k) + 1e-12
    assert ksg_ceiling(4000, 5) == pytest.approx(6.788, abs=1e-3)


def test_ksg_of_a_constant_is_zero():
    x, _ = correlated(300, 0.0)
    assert ksg(x, np.zeros(300)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 15])
def test_ksg_refuses_rows_that_come_twice_whatever_k_is(k):
    # with odd k no row ties at its k-th neighbour, and the reading was 0.35 nats where 0 is true
    x, z = (np.repeat(a, 2, axis=0) for a in correlated(1000, 0.0, dim=2))
    with pytest.raises(ValueError, match=r"100% of the rows tie.*take each copied row once"):
        ksg(x, z, k)
    once = np.unique(np.hstack([x, z]), axis=0)
    assert abs(ksg(once[:, :2], once[:, 2:], k)) < 0.15


def test_ksg_does_not_see_constant_columns():
    x, z = correlated(1000, 0.8, dim=2)
    seven = np.full((1000, 1), 7.0)
    expected = ksg(x, z)
    assert ksg(np.hstack([x, seven]), np.hstack([seven, z, seven])) == expected
    assert ksg(seven, z) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="100% of the rows tie"):
        ksg(seven, seven)


def test_ksg_refuses_values_on_a_grid_and_names_a_cure_that_works():
    rng, change = np.random.default_rng(99), []
    for seed in range(5):
        smooth = correlated(2000, 0.9, seed=seed)
        x, z = (a.round(1) for a in smooth)
        with pytest.raises(ValueError, match=r"must be samples of a density.*a little noise"):
            ksg(x, z)
        noise = 1e-6 * rng.standard_normal((2, *x.shape))
        change.append(ksg(x + noise[0], z + noise[1]) - ksg(*smooth))
    assert abs(np.mean(change)) < 4 * np.std(change) / math.sqrt(5) + 0.01


def test_ksg_lets_a_few_ties_pass_without_harm():
    x, z = correlated(4000, 0.9)
    x[:120], z[:120] = x[:120].round(1), z[:120].round(1)
    assert abs(ksg(x, z) - ksg(*correlated(4000, 0.9))) < 0.02


def test_ksg_of_ten_thousand_points_takes_less_than_a_second_of_one_core():
    x, z = correlated(10_000, 0.5, dim=2)
    ksg(x, z)  # imports
    start = time.process_time()
    ksg(x, z)
    assert time.process_time() - start < 1


def test_normal_entropy_table7_6():
    def exact(d):
        return d / 2 * math.log(2 * math.pi * math.e)

    printed = {16: 22.703017, 128: 181.624132, 32: 45.406033, 512: 726.496529}
    for d, value in printed.items():
        assert exact(d) == pytest.approx(value, abs=1e-6)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        assert knn_entropy(rng.uniform(0, 2, (5000, 2))) == pytest.approx(1.386294, abs=0.1)
        for d in (1, 3):
            assert knn_entropy(rng.standard_normal((5000, d))) == pytest.approx(exact(d), abs=0.1)


def test_2d_gmm_anchor_entropy():
    def bound(d):
        return math.log(5) + d / 2 * math.log(2 * math.pi * math.e * 0.25**2)

    assert bound(2) == pytest.approx(1.674726, abs=1e-6)
    assert bound(20) == pytest.approx(2.262321, abs=1e-6)
    rng = np.random.default_rng(0)
    angle = 2 * math.pi * rng.integers(0, 5, 5000) / 5
    centres = 3 * np.stack([np.cos(angle), np.sin(angle)], axis=1)  # 14 standard deviations apart
    x = centres + 0.25 * rng.standard_normal((5000, 2))
    assert knn_entropy(x) == pytest.approx(bound(2), abs=0.1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.integers(1, 4))
def test_entropy_moves_with_the_unit_and_not_with_rotation_or_place(seed, unit, dim):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((100, dim))
    rotation = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    moved = unit * (x @ rotation + 3)
    assert knn_entropy(moved) == pytest.approx(knn_entropy(x) + dim * math.log(unit), abs=1e-7)


def test_entropy_and_information_agree_with_each_other():
    x, z = correlated(4000, 0.8)
    by_entropies = knn_entropy(x) + knn_entropy(z) - knn_entropy(np.hstack([x, z]))
    assert by_entropies == pytest.approx(ksg(x, z), abs=0.1)


X = np.arange(12.0).reshape(6, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ksg(X, X[:4]), "x has 6, z has 4"),
        (lambda: ksg([], []), "x must hold at least one number"),
        (lambda: ksg(X, [0, 1, 2, np.nan, 4, 5]), r"z must be finite.*first at \(3,\)"),
        (lambda: ksg(X + np.inf, X), "x must be finite"),
        (lambda: ksg(X[..., None], X), r"x must have shape \(N, D\).*\(6, 2, 1\)"),
        (lambda: ksg(X, X, k=5), "k must be a whole number between 1 and 4 for 6 rows"),
        (lambda: ksg(X, X, k=0), "k must be.*but is 0"),
        (lambda: ksg(X, X, k=2.0), "k must be.*but is 2.0"),
        (lambda: ksg(X, X, k=True), "k must be"),
        (lambda: ksg([1.0], [1.0]), "k must be.*for 1 rows"),
        (lambda: ksg(np.zeros(9), np.zeros(9), k=3), "100% of the rows tie"),
        (lambda: ksg_ceiling(2), "samples must be a whole number at least 3"),
        (lambda: ksg_ceiling(6, 5), "k must be.*for 6 samples"),
        (lambda: knn_entropy(X, k=6), "k must be.*between 1 and 5 for 6 rows"),
        (lambda: knn_entropy(np.zeros(4), k=2), "4 of 4 rows have 2 exact copies"),
        (lambda: knn_entropy([[np.inf, 0]]), "x must be finite"),
        (lambda: knn_entropy(np.zeros((0, 2))), "x must hold at least one"),
    ],
)
def test_bad_samples_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
