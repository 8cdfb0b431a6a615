"""Exercises of notebook 07: match, fool the greedy, fill quotas, relax, leave a dead end."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from lvmlab.exercises import Exercise, Wrong, expect

Array = np.ndarray

CLEAR = np.array([[7, 5, 3, 9], [2, 8, 6, 1], [4, 4, 9, 7], [8, 3, 5, 6]], dtype=float)
DEAD_END = np.array([[0, 1, -5], [-5, 0, 1], [1, -5, 0]], dtype=float)
POINTS = np.array([[0, 0], [0.2, 0], [0.4, 0], [3, 3], [3.2, 3], [1.4, 1.5]])
CENTRES = np.array([[0.0, 0], [3, 3]])


def _totals(scores: Array) -> dict[tuple[int, ...], float]:
    """The total score of every pairing, by enumeration: column per row."""
    rows = np.arange(len(scores))
    columns = itertools.permutations(range(len(scores)))
    return {pairs: float(scores[rows, list(pairs)].sum()) for pairs in columns}


def _whole(answer: Any, length: int, what: str) -> Array:
    numbers = np.asarray(answer)
    expect(
        numbers.shape == (length,),
        f"return {length} numbers, {what} for each row: yours has shape {numbers.shape}",
    )
    expect(
        np.issubdtype(numbers.dtype, np.number) and (numbers == numbers.astype(int)).all(),
        f"whole numbers, please: {what} for each row; yours are {numbers.tolist()}",
    )
    return numbers.astype(int)


def _check_match(match: Callable[..., Any]) -> None:
    random = np.random.default_rng(0)
    ties = random.integers(0, 3, (5, 5)).astype(float)
    scores = [CLEAR, ties, *(random.normal(size=(n, n)) for n in (1, 2, 3, 5, 6, 7))]
    for S in scores:
        size, totals = len(S), _totals(S)
        pairs = _whole(match(S.copy()), size, "the latent")
        expect(
            (pairs >= 0).all() and (pairs < size).all(),
            f"latents are numbered 0 to {size - 1}, yours are {pairs.tolist()}",
        )
        expect(
            len(set(pairs.tolist())) == size,
            f"two rows on one chair: {pairs.tolist()}. Each latent belongs to one row only",
        )
        total = totals[tuple(pairs.tolist())]
        best, worst = max(totals.values()), min(totals.values())
        expect(
            abs(total - best) < 1e-9 or abs(total - worst) > 1e-9,
            f"you found the worst pairing: total {total:.4g}, not {best:.4g}. Scores are "
            "log-likelihoods, not costs: maximise",
        )
        inverse = tuple(np.argsort(pairs).tolist())
        expect(
            abs(total - best) < 1e-9 or abs(totals[inverse] - best) > 1e-9,
            f"{pairs.tolist()} names a row for each latent: turn it round, a latent for each row",
        )
        expect(
            abs(total - best) < 1e-9,
            f"on a matrix of {size} rows you reach {total:.4f}; of all {len(totals)} pairings the "
            f"best has {best:.4f}",
        )


def _greedy(scores: Array) -> float:
    """Best outcome of taking a largest free cell again and again, over all ways to break ties."""
    if not scores.size:
        return 0.0
    top = scores.max()
    return top + max(
        _greedy(np.delete(np.delete(scores, i, 0), j, 1)) for i, j in np.argwhere(scores == top)
    )


def _check_trap(greedy_trap: Callable[..., Any]) -> None:
    S = np.asarray(greedy_trap(), dtype=float)
    expect(S.shape == (3, 3), f"a 3 x 3 matrix of scores, please: yours has shape {S.shape}")
    expect(np.isfinite(S).all(), "finite scores, please: a forbidden pair is not needed for this")
    totals = _totals(S).values()
    expect(
        max(totals) - min(totals) > 1e-9,
        "the totals are equal: all six pairings are as good, so nobody can lose",
    )
    lost = max(totals) - _greedy(S)
    expect(
        lost > 1e-9,
        f"greedy is optimal here: it also reaches {max(totals):.4g} (with its best luck, where "
        "cells tie). Tempt it with one large cell that blocks two good ones",
    )
    expect(lost >= 1 - 1e-9, f"greedy loses {lost:.3g} nats only: make it 1 or more")


def _cost(points: Array, centres: Array, labels: Array) -> float:
    return float(((points - centres[labels]) ** 2).sum())


def _quota_problems() -> list[tuple[Array, Array, Array]]:
    random = np.random.default_rng(1)
    problems = [(POINTS, CENTRES, np.array([3, 3])), (POINTS, CENTRES, np.array([1, 5]))]
    for sizes in ((3, 3, 3), (5, 2, 1), (4, 4, 2)):
        points, centres = random.normal(size=(sum(sizes), 2)), random.normal(size=(3, 2))
        problems.append((points, centres, np.array(sizes)))
    return problems


def _check_assign(assign: Callable[..., Any]) -> None:
    for points, centres, sizes in _quota_problems():
        answer = assign(points.copy(), centres.copy(), sizes.copy())
        labels = _whole(answer, len(points), "the centre")
        expect(
            (labels >= 0).all() and (labels < len(centres)).all(),
            f"centres are numbered 0 to {len(centres) - 1}, yours are {labels.tolist()}",
        )
        found = np.bincount(labels, minlength=len(centres)).tolist()
        expect(
            found == sizes.tolist(),
            f"sizes {_and(found)}: the quota was {_and(sizes.tolist())}",
        )
        _no_better(points, centres, labels)
    labels = np.asarray(assign(POINTS.copy(), CENTRES.copy(), np.array([3, 3])))
    cost = _cost(POINTS, CENTRES, labels)
    expect(abs(cost - 5.05) < 1e-9, f"the six points cost 5.05 with 3 and 3, yours {cost:.4f}")


def _no_better(points: Array, centres: Array, labels: Array) -> None:
    """Raise `Wrong` for a swap of two points, or any of 1,000 random answers, that is cheaper."""
    cost, random = _cost(points, centres, labels), np.random.default_rng(2)
    for a, b in itertools.combinations(range(len(points)), 2):
        other = labels.copy()
        other[[a, b]] = labels[[b, a]]
        saved = cost - _cost(points, centres, other)
        expect(saved < 1e-9, f"swap points {a} and {b}: cheaper by {saved:.3g}. Filling one centre "
               "after the other, or point by point, regrets its first choices")  # fmt: skip
    for _ in range(1000):
        other = random.permutation(labels)
        saved = cost - _cost(points, centres, other)
        expect(saved < 1e-9, f"{other.tolist()} is cheaper by {saved:.3g}, with the same sizes")


def _and(sizes: list[int]) -> str:
    return f"{', '.join(map(str, sizes[:-1]))} and {sizes[-1]}"


def _coupling(sinkhorn: Callable[..., Any], scores: Array, epsilon: float, slack: float) -> Array:
    """The answer, if it has no NaN and its sums are 1 up to `slack`."""
    with np.errstate(all="ignore"):
        R = np.asarray(sinkhorn(scores.copy(), epsilon, 300), dtype=float)
    expect(R.shape == scores.shape, f"one weight for each cell, {scores.shape}: yours is {R.shape}")
    if not np.isfinite(R).all():
        raise Wrong(
            f"overflow at {epsilon:g}: stay in logs. exp(score / epsilon) leaves the range of "
            "floats (or a whole column becomes 0); take the exponential once, at the end"
        )
    expect((R > -1e-12).all(), "weights are not negative: is that the logarithm of R?")
    for axis, name in ((0, "columns"), (1, "rows")):
        sums = R.sum(axis)
        expect(
            abs(sums - 1).max() < slack,
            f"{name} do not sum to 1 at epsilon {epsilon:g}: {sums.round(4).tolist()}. Rows spoil "
            "columns and columns spoil rows: alternate, all the iterations",
        )
    return R


def _check_sinkhorn(sinkhorn: Callable[..., Any]) -> None:
    # A cold start converges slowly, and how slowly depends on whether rows or columns come first.
    slack = {1.0: 1e-6, 0.1: 1e-4, 1e-3: 1e-3}
    couplings = {e: _coupling(sinkhorn, CLEAR, e, slack[e]) for e in slack}
    found = {epsilon: float((R * CLEAR).sum()) for epsilon, R in couplings.items()}
    expect(
        abs(found[0.1] - 34) < 1e-4,
        f"at 0.1 the score is within 1e-4 of the best pairing's 34, yours is {found[0.1]:.4f}: "
        "divide the scores by epsilon",
    )
    expect(
        abs(found[1.0] - 32.762638) < 1e-5,
        f"at 1 the score is 32.762638, yours {found[1.0]:.6f}: R is exp(score / epsilon), scaled "
        "by a factor for each row and one for each column",
    )
    rivals = np.array([[3.0, 1.0, 0.0], [4.0, 0.0, 1.0], [5.0, 1.0, 3.0]])  # all want column 0
    _coupling(sinkhorn, rivals, 1e-3, np.inf)
    _coupling(sinkhorn, rivals.T, 1e-3, np.inf)
    for seed in range(3):
        _coupling(sinkhorn, np.random.default_rng(seed).normal(size=(5, 5)), 0.5, 1e-6)


def _check_batches(batches: Callable[..., Any]) -> None:
    answer = batches()
    try:
        chosen = [[int(row) for row in batch] for batch in answer]
    except TypeError:
        raise Wrong("a list of batches, each a list of rows such as [0, 2]") from None
    expect(chosen, "an empty list leaves everything as it is: total 0")
    for batch in chosen:
        expect(set(batch) <= {0, 1, 2}, f"rows are numbered 0, 1 and 2, a batch holds {batch}")
        expect(
            len(set(batch)) == len(batch),
            f"the batch {batch} holds a row twice: it owns one latent, which cannot go to two",
        )
    pairing = np.arange(3)
    for batch in chosen:
        rows, S = np.array(batch, dtype=int), DEAD_END
        options = [list(order) for order in itertools.permutations(pairing[rows].tolist())]
        pairing[rows] = max(options, key=lambda columns: S[rows, columns].sum())
    total = DEAD_END[np.arange(3), pairing].sum()
    largest = max(map(len, chosen))
    expect(largest > 1, "a batch of one can change nothing: its row owns one latent, and keeps it")
    expect(
        largest > 2,
        "every swap costs 4: no pair can help, however often and in whatever order they come",
    )
    expect(total == 3, f"you end at {pairing.tolist()}, total {total:g}: 3 can be reached")


def _solutions() -> tuple[Callable[..., Any], ...]:
    """One right answer each, under the names that the notebook asks for."""

    def match(scores):
        """Scipy minimises costs unless it is told otherwise."""
        from scipy.optimize import linear_sum_assignment

        return linear_sum_assignment(scores, maximize=True)[1]

    def greedy_trap():
        """The 3 in the corner tempts, and blocks both cells of 2.9 beside it."""
        return [[3.0, 2.9, 0.0], [2.9, 0.0, 0.0], [0.0, 0.0, 0.0]]

    def assign(points, centres, sizes):
        """Repeat each centre as often as it may be used, then match."""
        from scipy.optimize import linear_sum_assignment

        seats = np.repeat(np.arange(len(centres)), sizes)
        cost = ((points[:, None] - centres[seats]) ** 2).sum(-1)
        return seats[linear_sum_assignment(cost)[1]]

    def sinkhorn(scores, epsilon, iterations):
        """Subtract the logsumexp of the rows, then of the columns, again and again."""
        from scipy.special import logsumexp

        log_r = scores / epsilon
        for _ in range(iterations):
            log_r = log_r - logsumexp(log_r, axis=1, keepdims=True)
            log_r = log_r - logsumexp(log_r, axis=0, keepdims=True)
        return np.exp(log_r)

    def batches():
        """The three-cycle needs all three rows at once."""
        return [[0, 1, 2]]

    return match, greedy_trap, assign, sinkhorn, batches


_match, _greedy_trap, _assign, _sinkhorn, _batches = _solutions()

match = Exercise("Match", _check_match, (_match,))
greedy_trap = Exercise("Greedy loses", _check_trap, (_greedy_trap,))
assign = Exercise("Balanced k-means step", _check_assign, (_assign,))
sinkhorn = Exercise("Sinkhorn in logs", _check_sinkhorn, (_sinkhorn,))
batches = Exercise("Out of the dead end", _check_batches, (_batches,))
