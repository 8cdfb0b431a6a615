"""The checks of notebook 07: right answers pass, typical wrong ones meet their hint."""

import numpy as np
import pytest
from answers import rejects
from scipy.optimize import linear_sum_assignment, linprog
from scipy.special import logsumexp

from lvmlab.exercises import complete_likelihood as exercises


def _by_linear_programme(scores):
    """Another road to an optimum: a vertex of the doubly stochastic matrices."""
    size = len(scores)
    sums = np.concatenate(
        [np.kron(np.eye(size), np.ones(size)), np.kron(np.ones(size), np.eye(size))]
    )
    found = linprog(-scores.ravel(), A_eq=sums, b_eq=np.ones(2 * size), method="highs-ds")
    return found.x.reshape(size, size).argmax(1).tolist()


def test_any_optimum_passes_also_among_ties():
    assert exercises.match(_by_linear_programme).status == "right"


WRONG_MATCHES = {
    "arg-max of each row": (lambda s: s.argmax(1), "two rows on one chair"),
    "a minimiser": (
        lambda s: linear_sum_assignment(s)[1],
        "you found the worst pairing: total 11, not 34",
    ),
    "a row for each latent": (
        lambda s: np.argsort(linear_sum_assignment(s, maximize=True)[1]),
        "turn it round",
    ),
    "both of scipy's answers": (
        lambda s: linear_sum_assignment(s, maximize=True),
        "return 4 numbers, the latent for each row: yours has shape (2, 4)",
    ),
    "from one": (
        lambda s: linear_sum_assignment(s, maximize=True)[1] + 1,
        "latents are numbered 0 to 3",
    ),
    "the identity": (lambda s: np.arange(len(s)), "you reach 30.0000; of all 24 pairings"),
    "halves": (lambda s: np.arange(len(s)) / 2, "whole numbers, please"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_MATCHES.values(), ids=WRONG_MATCHES)
def test_wrong_matches(answer, hint):
    rejects(exercises.match, hint, answer)


WRONG_TRAPS = {
    "a dominant diagonal": (lambda: 5 * np.eye(3) + 1, "greedy is optimal here"),
    "ties only": (lambda: np.ones((3, 3)), "the totals are equal"),
    "a row and a column term": (
        lambda: np.add.outer([1, 2, 3], [0, 5, 1]),
        "the totals are equal",
    ),
    "lucky ties": (lambda: [[2, 2, 0], [2, 0, 0], [0, 0, 0]], "greedy is optimal here"),
    "half a nat": (lambda: [[2, 1.25, 0], [1.25, 0, 0], [0, 0, 0]], "loses 0.5 nats only"),
    "two rows": (lambda: [[1, 2], [3, 4]], "a 3 x 3 matrix"),
    "forbidden": (lambda: [[3, 2.9, 0], [2.9, -np.inf, 0], [0, 0, 0]], "finite scores"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_TRAPS.values(), ids=WRONG_TRAPS)
def test_wrong_traps(answer, hint):
    rejects(exercises.greedy_trap, hint, answer)


def _distances(points, centres):
    return ((points[:, None] - centres) ** 2).sum(-1)


def _greedy_fill(points, centres, sizes):
    """Point by point to the nearest centre that still has room."""
    room, labels = sizes.copy(), []
    for row in _distances(points, centres):
        k = min((k for k in range(len(centres)) if room[k]), key=lambda k: row[k])
        room[k] -= 1
        labels.append(k)
    return np.array(labels)


def _exact(points, centres, sizes, maximize=False):
    seats = np.repeat(np.arange(len(centres)), sizes)
    cost = _distances(points, centres[seats])
    return seats[linear_sum_assignment(cost, maximize=maximize)[1]]


WRONG_STEPS = {
    "nearest centre": (
        lambda p, c, s: _distances(p, c).argmin(1),
        "sizes 4 and 2: the quota was 3 and 3",
    ),
    "greedy fill": (_greedy_fill, "cheaper by"),
    "the dearest": (lambda p, c, s: _exact(p, c, s, maximize=True), "swap points 0 and 3"),
    "seats instead of centres": (
        lambda p, c, s: linear_sum_assignment(_distances(p, c[np.repeat([0, 1], 3)]))[1],
        "centres are numbered 0 to 1",
    ),
    "even sizes": (
        lambda p, c, s: _exact(p, c, np.array([3, 3])) if len(c) == 2 else _exact(p, c, s),
        "sizes 3 and 3: the quota was 1 and 5",
    ),
    "one label": (lambda p, c, s: 0, "return 6 numbers, the centre for each row"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_STEPS.values(), ids=WRONG_STEPS)
def test_wrong_steps(answer, hint):
    rejects(exercises.assign, hint, answer)


def _plain(scores, epsilon, iterations):
    R = np.exp(scores / epsilon)
    for _ in range(iterations):
        R = R / R.sum(1, keepdims=True)
        R = R / R.sum(0, keepdims=True)
    return R


def _shifted(scores, epsilon, iterations):
    """The maximum of each row first: no overflow, but a column may become zero."""
    return _plain(scores - scores.max(1, keepdims=True), epsilon, iterations)


def _in_logs(scores, epsilon, iterations):
    log_r = scores / epsilon
    for _ in range(iterations):
        log_r = log_r - logsumexp(log_r, axis=1, keepdims=True)
        log_r = log_r - logsumexp(log_r, axis=0, keepdims=True)
    return log_r


def _rows_only(scores, epsilon, iterations):
    return np.exp(scores / epsilon - logsumexp(scores / epsilon, axis=1, keepdims=True))


WRONG_COUPLINGS = {
    "exponential first": (_plain, "overflow at 0.001: stay in logs"),
    "shifted rows": (_shifted, "overflow at 0.001: stay in logs"),
    "rows only": (_rows_only, "columns do not sum to 1"),
    "one iteration": (lambda s, e, n: np.exp(_in_logs(s, e, 1)), "rows do not sum to 1"),
    "still in logs": (_in_logs, "is that the logarithm of R?"),
    "no temperature": (lambda s, e, n: np.exp(_in_logs(s, 1, n)), "divide the scores by epsilon"),
    "another temperature": (
        lambda s, e, n: np.exp(_in_logs(s, 1.05 * e, n)),
        "at 1 the score is 32.762638",
    ),
    "the best pairing": (
        lambda s, e, n: np.eye(len(s))[linear_sum_assignment(s, maximize=True)[1]],
        "at 1 the score is 32.762638",
    ),
    "one row": (lambda s, e, n: np.exp(_in_logs(s, e, n))[0], "one weight for each cell"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_COUPLINGS.values(), ids=WRONG_COUPLINGS)
def test_wrong_couplings(answer, hint):
    rejects(exercises.sinkhorn, hint, answer)


def test_columns_first_is_right_as_well():
    def columns_first(scores, epsilon, iterations):
        return np.exp(_in_logs(scores.T, epsilon, iterations)).T

    assert exercises.sinkhorn(columns_first).status == "right"


WRONG_BATCHES = {
    "pairs only": (lambda: [[0, 1], [1, 2], [0, 2]] * 5, "every swap costs 4: no pair can help"),
    "single rows": (lambda: [[0], [1], [2]], "a batch of one can change nothing"),
    "nothing": (lambda: [], "an empty list leaves everything"),
    "one batch, not a list": (lambda: [0, 1, 2], "a list of batches"),
    "from one": (lambda: [[1, 2, 3]], "rows are numbered 0, 1 and 2"),
    "a row twice": (lambda: [[0, 1, 1]], "holds a row twice"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_BATCHES.values(), ids=WRONG_BATCHES)
def test_wrong_batches(answer, hint):
    rejects(exercises.batches, hint, answer)


def test_more_batches_than_needed_are_right_as_well():
    assert exercises.batches(lambda: [(0, 1), (2, 0, 1), [1]]).status == "right"
