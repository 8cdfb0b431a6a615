"""The checks of notebook 11: right answers pass, typical wrong ones meet their hint."""

import numpy as np
import pytest
from answers import rejects
from scipy.optimize import linear_sum_assignment

from lvmlab.exercises import identifiability as exercises


def _table(a, b):
    d = a.shape[1]
    return np.corrcoef(a.T, b.T)[:d, d:]


def _signed(a, b):
    table = _table(a, b)
    return table[linear_sum_assignment(np.abs(table), maximize=True)].mean()


def _covariances(a, b):
    table = np.abs((a - a.mean(0)).T @ (b - b.mean(0)) / len(a))
    return table[linear_sum_assignment(table, maximize=True)].mean()


WRONG_SCORES = {
    "largest of each row": (lambda a, b: np.abs(_table(a, b)).max(1).mean(), "chose one partner"),
    "signed": (_signed, "a flipped axis is the same axis"),
    "in order": (lambda a, b: np.abs(np.diag(_table(a, b))).mean(), "does your score not forgive"),
    "covariances": (_covariances, "does your score not forgive"),
    "always 1": (lambda a, b: 1.0, "the best pairing gives 0.916486"),
    "a table": (lambda a, b: _table(a, b), "one number"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_SCORES.values(), ids=WRONG_SCORES)
def test_wrong_scores(answer, hint):
    rejects(exercises.mean_correlation, hint, answer)


def _scores(d, rows, draws, seed, how=lambda table: table[linear_sum_assignment(-table)].mean()):
    random = np.random.default_rng(seed)
    pairs = (random.normal(size=(2, rows, d)) for _ in range(draws))
    return np.array([how(np.abs(_table(*pair))) for pair in pairs])


def _both(scores):
    return scores.mean(), scores.std()


WRONG_FLOORS = {
    "nothing": (lambda d, n, draws, seed: (0.0, 0.01), "is positive, by chance too"),
    "one over root N": (lambda d, n, k, seed: (n**-0.5, 0.1 * n**-0.5), "forgot the matching"),
    "one correlation": (
        lambda d, n, k, s: _both(_scores(d, n, k, s, lambda t: np.diag(t).mean())),
        "forgot the matching",
    ),
    "largest entry": (lambda d, n, k, s: _both(_scores(d, n, k, s, np.max)), "Gaussians score"),
    "standard error": (
        lambda d, n, k, s: (_scores(d, n, k, s).mean(), _scores(d, n, k, s).std() / k**0.5),
        "that of one score over the draws",
    ),
    "a fixed seed": (lambda d, n, k, s: _both(_scores(d, n, k, 3)), "another seed must give other"),
    "mean only": (lambda d, n, k, s: _scores(d, n, k, s).mean(), "return two things"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_FLOORS.values(), ids=WRONG_FLOORS)
def test_wrong_floors(answer, hint):
    rejects(exercises.know_the_floor, hint, answer)


def test_a_floor_without_the_seed_is_refused():
    random = np.random.default_rng(5)
    rejects(
        exercises.know_the_floor,
        "the same seed must give the same floor",
        lambda d, n, k, s: _both(_scores(d, n, k, int(random.integers(10**6)))),
    )


def _condition(first, second):
    def answer(means, scales):
        rows = np.hstack([first(means, scales), second(scales)])
        return np.linalg.cond((rows[1:] - rows[0]).T), 2 * means.shape[1] + 1

    return answer


def _mean(m, s):
    return m / s**2


def _half(s):
    return -0.5 / s**2


def _needs(count):
    return lambda means, scales: (
        _condition(_mean, _half)(means, scales)[0],
        count(means.shape[1]),
    )


WRONG_MATRICES = {
    "d + 1": (_needs(lambda d: d + 1), "two statistics"),
    "2 d + 2": (_needs(lambda d: 2 * d + 2), "3 segments are needed"),
    "3 d": (_needs(lambda d: 3 * d), "2 latents need 5"),
    "variances": (_condition(_mean, lambda s: s**2), "not variances"),
    "means": (_condition(lambda m, s: m, _half), "not means"),
    "no half": (_condition(_mean, lambda s: -1 / s**2), "there is a half"),
    "scales": (_condition(lambda m, s: m / s, lambda s: -0.5 / s), "which power enters"),
    "a determinant": (lambda m, s: (1.125, 2 * m.shape[1] + 1), "16.341584"),
    "no difference": (
        lambda m, s: (np.linalg.cond(np.hstack([_mean(m, s), _half(s)]).T), 2 * m.shape[1] + 1),
        "16.341584",
    ),
    "capped": (
        lambda m, s: (min(_condition(_mean, _half)(m, s)[0], 1e9), 2 * m.shape[1] + 1),
        "L is singular",
    ),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_MATRICES.values(), ids=WRONG_MATRICES)
def test_wrong_matrices(answer, hint):
    rejects(exercises.enough_segments, hint, answer)


def _canonical(a, b, fit, apply=None):
    """Canonical correlations of the fitted rows, and signed correlations of the others."""
    sides = []
    for z in (a, b):
        centred = z - z[fit].mean(0)
        sides.append(centred @ np.linalg.inv(np.linalg.qr(centred[fit])[1]))
    left, right = sides
    u, s, v = np.linalg.svd(left[fit].T @ right[fit])
    rest = slice(None) if apply is None else apply
    left, right = left[rest] @ u, right[rest] @ v.T
    return s, np.diag(_table(left, right))


def _answer(how):
    def answer(a, b, fit_rows):
        inside, outside = slice(fit_rows), slice(fit_rows, None)
        return how(a, b, inside, outside)

    return answer


def _halves(a, b, i, o):
    return _canonical(a, b, i, o)


WRONG_HALVES = {
    "fitted on all": (
        _answer(lambda a, b, i, o: (_canonical(a, b, i)[0].mean(),
                                    _canonical(a, b, slice(None), o)[1].mean())),
        "did the fit see these rows",
    ),
    "fitted again": (
        _answer(lambda a, b, i, o: (_canonical(a, b, i)[0].mean(), _canonical(a, b, o)[0].mean())),
        "in-sample again",
    ),
    "absolute": (
        _answer(lambda a, b, i, o: (_halves(a, b, i, o)[0].mean(),
                                    np.abs(_halves(a, b, i, o)[1]).mean())),
        "no absolute values",
    ),
    "swapped": (
        _answer(lambda a, b, i, o: (_halves(a, b, i, o)[1].mean(), _halves(a, b, i, o)[0].mean())),
        "correlate highly",
    ),
    "zero": (_answer(lambda a, b, i, o: (_canonical(a, b, i)[0].mean(), 0.0)), "on related codes"),
    "the best one": (
        _answer(lambda a, b, i, o: (_canonical(a, b, i)[0].max(),
                                    _canonical(a, b, i, o)[1].mean())),
        "in_sample is",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "hint"), WRONG_HALVES.values(), ids=WRONG_HALVES)
def test_wrong_halves(answer, hint):
    rejects(exercises.held_out_cca, hint, answer)
