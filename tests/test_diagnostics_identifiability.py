"""MCC: what it forgives, what it does not, and what chance scores."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from lvmlab.diagnostics import mcc, rdc

TIME = np.arange(1, 9)[:, None]
Z = np.sin(TIME * np.array([1, 2.3, 3.7]))
W = np.array([[1, 0.5, 0], [0.2, 1, -0.3], [0, 0.4, 1]])


def normal(seed, rows, columns):
    return np.random.default_rng(seed).normal(size=(rows, columns))


def correlated(seed, rows=200, columns=4, noise=0.7):
    a = normal(seed, rows, columns)
    return a, np.roll(a, 1, 1) + noise * normal(seed + 1000, rows, columns)


def test_mcc_invariance():
    moved = Z[:, [2, 0, 1]] * np.array([-3, 0.5, 2]) + np.array([1, 2, 3])
    found = mcc(Z, moved)
    assert found.mcc == pytest.approx(1, abs=1e-12)
    assert found.matching.tolist() == [[0, 1], [1, 2], [2, 0]]
    assert np.sign(found.correlations[[0, 1, 2], [1, 2, 0]]).tolist() == [1, 1, -1]
    assert mcc(Z, Z @ W).mcc == pytest.approx(0.916486, abs=1e-6)
    assert mcc(Z @ W, Z).mcc == pytest.approx(0.916486, abs=1e-6)


def test_cca_invariance():
    b = Z @ W + 0.3 * np.cos(TIME * np.array([0.7, 1.9, 3.1]))
    turn = np.array([[2, 1, 0], [0, 1, 1], [1, 0, 3]])
    for right in (b, b @ turn - 5):
        found = mcc(Z, right, align="cca")
        assert found.mcc == pytest.approx(0.977201, abs=1e-6)
        roots = np.abs(np.diag(found.correlations))
        assert roots == pytest.approx([0.999053, 0.980325, 0.952225], abs=1e-6)
        assert np.abs(found.correlations - np.diag(np.diag(found.correlations))).max() < 1e-9
        assert mcc(Z, right, components=2).mcc == pytest.approx(roots[:2].mean())
    assert mcc(Z, Z @ W, align="cca").mcc == pytest.approx(1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_matching_is_the_best_of_all_pairings_of_pearson_and_spearman(seed):
    a, b = correlated(seed, 30)
    best = {
        "pearson": np.corrcoef(a.T, b.T)[:4, 4:],
        "spearman": spearmanr(a, b).statistic[:4, 4:],
    }
    for name, table in best.items():
        found = mcc(a, b, name, shuffles=2)
        assert found.correlations == pytest.approx(table)
        scores = [np.abs(table[range(4), order]).mean() for order in permutations(range(4))]
        assert found.mcc == pytest.approx(max(scores))
        assert mcc(b, a, name, shuffles=2).mcc == pytest.approx(found.mcc)
        as_is = mcc(a, b, name, align="none", shuffles=2).mcc
        assert as_is == pytest.approx(np.abs(np.diag(table)).mean()) and as_is <= found.mcc


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_what_each_setting_forgives(seed):
    a, b = correlated(seed)
    rng = np.random.default_rng(seed + 1)
    order, signs = rng.permutation(4), rng.choice([-1, 1], 4)
    moved = (b * signs * rng.uniform(0.1, 9, 4) + rng.normal(size=4))[:, order]
    bent = np.sign(moved) * moved**2 + moved
    mixed = b @ rng.normal(size=(4, 4)) + 3

    def score(right, **how):
        return mcc(a, right, shuffles=2, **how).mcc

    assert score(moved) == pytest.approx(score(b))
    assert score(bent, correlation="spearman") == pytest.approx(score(b, correlation="spearman"))
    assert abs(score(bent) - score(b)) > 1e-4
    assert score(mixed) < score(b) - 0.01
    half = a[:100], b[:100]
    for rows in (None, (a[100:], b[100:])):
        turned = None if rows is None else (rows[0] @ W4, mixed[100:])
        before = mcc(*half, align="cca", held_out=rows, shuffles=2).mcc
        after = mcc(half[0] @ W4, mixed[:100], align="cca", held_out=turned, shuffles=2).mcc
        assert after == pytest.approx(before, abs=1e-8)


W4 = np.random.default_rng(7).normal(size=(4, 4))


def test_rdc_forgives_rising_maps_exactly_and_finds_any_dependence():
    for seed in range(5):
        a, b = correlated(seed, 500, 2)
        found = mcc(a, b, "rdc", shuffles=2)
        bent = mcc(np.exp(a), b**3, "rdc", shuffles=2)
        assert bent.correlations == pytest.approx(found.correlations, abs=1e-9)
        assert found.correlations[0, 1] == pytest.approx(rdc(a[:, 0], b[:, 1]))
        x = normal(seed, 2000, 1)
        assert rdc(x, x) == rdc(x, np.exp(x)) == pytest.approx(1)
        assert rdc(x, x) <= 1  # not by rounding either
        assert rdc(x, x**2) > 0.999
        assert abs(mcc(x, x**2, shuffles=2).mcc) < 0.2
        assert rdc(x, normal(seed + 99, 2000, 1)) < 0.2


def test_rdc_is_the_first_canonical_correlation_of_its_sines():
    """Against another road: least squares, whose best R^2 over directions is the square."""
    from scipy.linalg import eigh
    from scipy.stats import rankdata

    a, b = correlated(3, 400, 2)
    waves = []
    for column in (a[:, 0], b[:, 1]):
        ranks = rankdata(column) / 400
        powers = np.stack([ranks**k for k in range(7)], 1)  # smooth sines are nearly polynomials
        waves.append((powers - powers.mean(0))[:, 1:])
    x, y = waves
    fitted = y @ np.linalg.lstsq(y, x, rcond=None)[0]
    square = eigh(fitted.T @ fitted, x.T @ x + 1e-12 * np.eye(6), eigvals_only=True)[-1]
    assert rdc(a[:, 0], b[:, 1]) == pytest.approx(np.sqrt(square), abs=0.01)


@pytest.mark.parametrize("components", [1, 3])
def test_cca_against_scikit_learn_in_and_out_of_sample(components):
    from sklearn.cross_decomposition import CCA

    for seed in range(4):
        a, b = normal(seed, 300, 5), normal(seed + 50, 300, 4)
        b[:, :3] += a[:, :3] @ normal(seed + 90, 3, 3)
        half, rest = (a[:150], b[:150]), (a[150:], b[150:])
        known = CCA(components, max_iter=5000, tol=1e-10).fit(*half)
        for rows in (half, rest):
            ours = mcc(*half, components=components, held_out=None if rows is half else rows)
            left, right = known.transform(*rows)
            theirs = [np.corrcoef(left[:, i], right[:, i])[0, 1] for i in range(components)]
            assert np.diag(ours.correlations) == pytest.approx(theirs, abs=1e-3)
            assert ours.mcc == pytest.approx(np.abs(theirs).mean(), abs=1e-3)


def test_held_out_rows_choose_nothing():
    """The pairing of the first rows is kept, though another would score more on the others."""
    a, b = correlated(0, noise=0.1)
    other = normal(5, 100, 4)
    found = mcc(a, b, held_out=(other, np.roll(other, 2, 1) + 0.1 * normal(6, 100, 4)))
    assert found.matching.tolist() == mcc(a, b).matching.tolist()
    assert found.mcc < 0.3 and "100 held-out rows" in repr(found)


def test_floor_of_one_pair_is_what_theory_says():
    """|correlation| of independent columns: mean sqrt(2 / pi N), sd sqrt((1 - 2 / pi) / N)."""
    for rows in (100, 2500):
        floors = [
            mcc(normal(s, rows, 1), normal(s + 77, rows, 1), align="none", shuffles=200, seed=s)
            for s in range(5)
        ]
        mean, scale = np.sqrt(2 / np.pi / rows), np.sqrt((1 - 2 / np.pi) / rows)
        error = scale / np.sqrt(5 * 200)
        assert abs(np.mean([f.floor for f in floors]) - mean) < 4 * error
        assert np.mean([f.floor_scale for f in floors]) == pytest.approx(scale, rel=0.1)


@pytest.mark.parametrize(
    ("dims", "rows", "published"), [(5, 5000, 0.020), (5, 200, 0.098), (64, 900, 0.082)]
)
def test_floor_is_what_independent_gaussians_score(dims, rows, published):
    scores = [
        mcc(normal(s, rows, dims), normal(s + 500, rows, dims), seed=s, shuffles=10)
        for s in range(20)
    ]
    values = np.array([s.mcc for s in scores])
    error = values.std(ddof=1) / np.sqrt(20)
    assert abs(np.mean([s.floor for s in scores]) - values.mean()) < 4 * error
    assert values.mean() == pytest.approx(published, abs=0.01)


def wachter(share):
    """Density over r of canonical correlations of noise, as many columns as share x rows each."""
    edge = 4 * share * (1 - share)
    r = np.linspace(0, np.sqrt(edge), 200_001)[1:-1]
    weight = np.sqrt(edge - r**2) / (np.pi * share * (1 - r**2))
    return r, weight / weight.sum()


def test_floor_of_cca_follows_the_law_of_wachter():
    """All canonical correlations of noise, and the best 20 of 100, in closed form."""
    rows, dims = 1000, 100
    r, weight = wachter(dims / rows)
    best = weight.cumsum() > 0.8
    for seed in range(3):
        a, b = normal(seed, rows, dims), normal(seed + 40, rows, dims)
        every = mcc(a, b, align="cca", shuffles=5)
        few = mcc(a, b, components=20, shuffles=5)
        assert every.floor == pytest.approx((r * weight).sum(), rel=0.02)
        theory = (r[best] * weight[best]).sum() / weight[best].sum()
        assert few.floor == pytest.approx(theory, rel=0.03)
        assert few.mcc == pytest.approx(few.floor, abs=5 * few.floor_scale)


@pytest.mark.slow
def test_two_hundred_dimensions_flatter():
    """The same 20 components of the same noise: 0.14, 0.22, 0.35 in sample, near 0 held out."""
    for dims, flattered in ((50, 0.14), (90, 0.22), (200, 0.35)):
        a, b = normal(dims, 5000, dims), normal(dims + 1, 5000, dims)
        found = mcc(a, b, components=20, shuffles=3)
        assert found.mcc == pytest.approx(flattered, abs=0.01)
        assert found.floor == pytest.approx(flattered, abs=0.01)
        half = a[:2500], b[:2500]
        held_out = mcc(*half, components=20, held_out=(a[2500:], b[2500:]), shuffles=3)
        assert held_out.mcc < 0.03


def test_perfect_by_counting_once_there_are_as_many_columns_as_rows():
    for columns, perfect in ((30, False), (59, True), (60, True)):
        found = mcc(normal(1, 60, columns), normal(2, 60, columns), align="cca", shuffles=2)
        assert (found.mcc > 1 - 1e-9) == (found.floor > 1 - 1e-9) == perfect


def test_copies_of_a_column_add_no_component():
    a, b = correlated(0)
    doubled = np.hstack([a, a[:, :2]])
    found = mcc(doubled, b, align="cca")
    assert found.mcc == pytest.approx(mcc(a, b, align="cca").mcc)
    assert "4 CCA components" in repr(found)


def test_tensors_arrays_and_seeds():
    a, b = correlated(0)
    found = mcc(torch.tensor(a, requires_grad=True), b.tolist(), seed=3)
    same = mcc(a, b, seed=3)
    assert (found.mcc, found.floor, found.floor_scale) == pytest.approx(same[:3])
    assert mcc(a, b, seed=4).floor != same.floor
    assert repr(found) == (
        f"MCC {found.mcc:.3f} (floor {found.floor:.3f} ± {found.floor_scale:.3f}; "
        "pearson, matching, 200 rows, in sample)"
    )
    assert mcc(a[:, 0], b[:, 1]).correlations.shape == (1, 1)
    assert mcc(a[:, :2], b).matching.tolist() == [[0, 1], [1, 2]]


A, B = correlated(11, 20)
STILL = np.where(np.arange(4) == 2, 1.5, A)


@pytest.mark.parametrize(
    ("a", "b", "how", "message"),
    [
        (A, B[:19], {}, "a has 20, b has 19"),
        (A[:3], B[:3], {}, "a must have at least as many rows as columns.*3 rows and 4 columns"),
        (STILL, B, {}, "a must vary in every column, but 1 of 4 .* column 2: .* Leave it out"),
        (A, np.zeros((20, 4)), {}, "b must vary in every column, but 4 of 4"),
        (A, B, {"components": 5}, "components must be .* between 1 and 4 for a and b"),
        (np.hstack([A, A]), B, {"components": 5}, "a and b with 4 of 8 and 4 of 4 independent"),
        (A, B, {"components": 0}, "components must be"),
        (A, B, {"components": 2, "align": "matching"}, "components is .* align is 'matching'"),
        (A, B, {"align": "procrustes"}, "align must be one of none, matching, cca"),
        (A, B, {"correlation": "kendall"}, "correlation must be one of pearson, spearman, rdc"),
        (A, B[:, :3], {"align": "none"}, "a has 4 columns and b has 3"),
        (A, B, {"shuffles": 1}, "shuffles must be a whole number at least 2"),
        (A, np.full((20, 4), np.nan), {}, "b must be finite"),
        (A, B, {"held_out": A}, "held_out must be a pair of arrays"),
        (A, B, {"held_out": (A, B[:9])}, r"held_out\[0\] has 20, held_out\[1\] has 9"),
        (A, B, {"held_out": (A, B[:, :3])}, r"held_out\[1\] must have the 4 columns"),
        (A, B, {"held_out": (STILL, B)}, r"held_out\[0\] must vary in every column"),
    ],
)
def test_bad_input_is_refused(a, b, how, message):
    with pytest.raises(ValueError, match=message):
        mcc(a, b, **how)


def test_bad_input_of_rdc_is_refused():
    with pytest.raises(ValueError, match=r"x must have shape \(N,\)"):
        rdc(A, B)
    with pytest.raises(ValueError, match="y must vary in every column"):
        rdc(A[:, 0], STILL[:, 2])
    with pytest.raises(ValueError, match="x has 20, y has 19"):
        rdc(A[:, 0], B[:19, 0])
