"""Exercises of notebook 01: divergence, information, pairings and bias of finite tables."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lvmlab.diagnostics import entropy, kl_divergence, mutual_information, plug_in_information
from lvmlab.exercises import Exercise, expect

MODEL = np.array([[0.20, 0.05], [0.10, 0.15], [0.05, 0.25], [0.12, 0.08]])
ENCODER = np.array([[0.7, 0.3], [0.5, 0.5], [0.2, 0.8]])


def _number(value: Any, what: str) -> float:
    """The answer as a float, or a hint when it is an array or a text."""
    single = np.isscalar(value) or getattr(value, "shape", None) == ()
    expect(single and not isinstance(value, str), f"{what} is one number: sum over all cells")
    return float(value)


def _check_kl(kl: Callable[..., Any]) -> None:
    with np.errstate(all="ignore"):
        q = np.vstack([ENCODER / 3, np.zeros(2)])
        value, right = _number(kl(q, MODEL), "KL"), kl_divergence(q, MODEL)
        expect(not np.isnan(value), "a cell that q leaves empty adds nothing: 0 log 0 = 0")
        expect(abs(value + right) > 1e-6, "look at the sign: a KL is never negative")
        expect(
            abs(value - right / np.log(2)) > 1e-6,
            f"the first table gives {right:.6f} in nats; you are off by a factor of 1.44",
        )
        other = np.array([[0.1, 0.2], [0.3, 0.4]])
        backward = kl_divergence(other.T, other), _number(kl(other, other.T), "KL")
        expect(abs(backward[0] - backward[1]) < 1e-9, "two tables of 2 x 2 already disagree")
        _check_kl_support(kl)
        _check_kl_shapes(kl)


def _check_kl_support(kl: Callable[..., Any]) -> None:
    covered, missing = np.array([0.5, 0.5, 0.0]), np.array([0.5, 0.0, 0.5])
    expect(
        _number(kl(covered, missing), "KL") == np.inf,
        "q allows an event that p excludes: what should that cost?",
    )
    wide = np.array([0.5, 0.25, 0.25])
    forward = _number(kl(covered, wide), "KL")
    expect(forward != np.inf, "the expectation is under q: p may allow what q excludes")
    expect(
        abs(forward - kl_divergence(covered, wide)) < 1e-9,
        "q log(q / p) over q's cells, and no more",
    )


def _check_kl_shapes(kl: Callable[..., Any]) -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        shape = tuple(random.integers(2, 5, size=random.integers(1, 4)))
        q = random.dirichlet(np.ones(np.prod(shape))).reshape(shape)
        p = random.dirichlet(np.ones(np.prod(shape))).reshape(shape)
        right, value = kl_divergence(q, p), _number(kl(q, p), "KL")
        if abs(value - right) > 1e-9:
            reverse = abs(value - kl_divergence(p, q)) < 1e-9
            expect(not reverse, "the expectation is under the first table: this is KL(p, q)")
            expect(False, f"a table of shape {shape} gives {right:.6f} nats, not {value:.6f}")


def _check_information(information: Callable[..., Any]) -> None:
    with np.errstate(all="ignore"):
        equal = np.tile([0.2, 0.5, 0.3], (6, 1))
        value = _number(information(equal), "information")
        spread = entropy(equal[0])
        expect(abs(value + spread) > 1e-9, "what if all rows are equal? Then x tells nothing of z")
        expect(
            abs(value - (np.log(3) - spread)) > 1e-9,
            "compare each row with the marginal of z, not with the uniform distribution",
        )
        expect(abs(value) < 1e-9, "equal rows must give 0")
        sure = _number(information(np.eye(4)[[0, 1, 2, 3, 0, 1, 2, 3]]), "information")
        expect(np.isfinite(sure), "a row that is certain has zeros: 0 log 0 = 0")
        expect(
            abs(sure - np.log(4)) < 1e-9,
            f"balanced certain rows over 4 values give log 4 = {np.log(4):.4f}, not {sure:.4f}",
        )
        _check_weighted_information(information)


def _check_weighted_information(information: Callable[..., Any]) -> None:
    posteriors = (MODEL / MODEL.sum(1, keepdims=True))[:3]
    value, right = _number(information(posteriors), "information"), 0.147866
    expect(abs(value - right) < 1e-6, f"the first three posteriors give {right} nats")
    random = np.random.default_rng(1)
    for _ in range(50):
        rows, weights = random.dirichlet(np.ones(4), size=7), random.dirichlet(np.ones(7))
        right = mutual_information(rows * weights[:, None])
        value = _number(information(rows, weights), "information")
        even = _number(information(rows), "information")
        expect(abs(value - even) > 1e-12, "weights change q(x): they enter both terms")
        expect(abs(value - right) < 1e-9, "weighted rows: weigh the mean AND the row entropies")
        scaled = _number(information(rows, 20 * weights), "information")
        expect(abs(scaled - right) < 1e-9, "counts are weights too: divide them by their sum")


def _check_pairing(pairing_example: Callable[..., Any]) -> None:
    answer = pairing_example()
    expect(
        isinstance(answer, tuple | list) and len(answer) == 4,
        "return four lists of one length: x, z, first, second",
    )
    x, z, first, second = (np.asarray(part) for part in answer)
    same = x.ndim == 1 and x.shape == z.shape == first.shape == second.shape and len(x) > 0
    expect(same, "x, z and both pairings must be lists of one length")
    for order in (first, second):
        expect(
            sorted(order.tolist()) == list(range(len(x))),
            "the latents are given, only their order is yours: a pairing holds each position "
            f"0 ... {len(x) - 1} once, and row n gets z[pairing[n]]",
        )
    distinct = "with distinct {} every pairing has joint entropy log N: count your repeats"
    expect(len(np.unique(x)) < len(x), distinct.format("x"))
    expect(len(np.unique(z)) < len(z), distinct.format("z"))
    entropies = [_joint_entropy(x, z[order]) for order in (first, second)]
    expect(
        abs(entropies[0] - entropies[1]) > 1e-9,
        f"both pairings have joint entropy {entropies[0]:.4f} nats: let one of them repeat a "
        "whole pair (x, z) more often than the other",
    )


def _joint_entropy(x: np.ndarray, z: np.ndarray) -> float:
    _, counts = np.unique(np.stack([x, z]), axis=1, return_counts=True)
    return entropy(counts / counts.sum())


def _check_corrected(corrected: Callable[..., Any]) -> None:
    _check_corrected_manners(corrected)
    values, plug_in = [], []
    for seed in range(300):
        x, z = np.random.default_rng(seed).integers(10, size=(2, 100))
        values.append(_number(corrected(x, z, 10, seed), "the corrected information"))
        plug_in.append(float(plug_in_information(x, z)))
    mean, bias, formula = np.mean(values), np.mean(plug_in), 81 / 200
    expect(abs(mean - bias) > 0.02, f"independent labels still get {mean:.2f} nats in the mean")
    expect(
        not 0 <= min(values) < 1e-6,
        "the mean of clipped values is positive again: let it be negative",
    )
    expect(
        abs(mean - (bias - formula)) > 0.02,
        f"the formula {formula} is for large N and falls short here by {bias - formula:.2f} nats: "
        "measure the floor by shuffling",
    )
    expect(abs(mean) < 0.02, f"300 independent samples must average to 0 within 0.02: {mean:.3f}")
    _check_shuffles(corrected, x, z)


def _check_shuffles(corrected: Callable[..., Any], x: Any, z: Any) -> None:
    """The seed chooses the shuffles, there are as many as asked for, and their mean is taken."""
    few, many = ([corrected(x, z, times, seed) for seed in range(20)] for times in (1, 100))
    expect(
        len(set(few)) > 1,
        "seeds 0 to 19 give one number with a single shuffle: make the generator of `seed`",
    )
    expect(
        np.std(many) < np.std(few) / 2,
        f"over seeds, 100 shuffles scatter by {np.std(many):.3f} nats and one by {np.std(few):.3f}:"
        " the mean of 100 should scatter by a tenth. Do you make `shuffles` of them?",
    )
    x = z = np.eye(10, dtype=int)[0]  # one shuffle in ten brings the two ones together
    apart = plug_in_information(x, z[::-1])
    floor = 0.1 * plug_in_information(x, z) + 0.9 * apart
    found = np.mean([plug_in_information(x, z) - corrected(x, z, 400, s) for s in range(10)])
    expect(
        abs(found - floor) < 0.012,
        f"ten pairs, one of each label rare: the mean over all shuffles is {floor:.3f} nats, you "
        f"take away {found:.3f}. One shuffle in ten is far above the others, and it counts",
    )


def _check_corrected_manners(corrected: Callable[..., Any]) -> None:
    table = 0.7 * np.eye(4) / 4 + 0.3 / 16
    right, values = mutual_information(table), []
    for seed in range(20):
        cells = np.random.default_rng(seed).choice(16, size=1000, p=table.ravel())
        x, z = cells // 4, cells % 4
        given = x.copy(), z.copy()
        values.append(_number(corrected(x, z, 10, seed), "the corrected information"))
        untouched = (x == given[0]).all() and (z == given[1]).all()
        expect(untouched, "you shuffled the caller's own arrays: permute a copy")
    again = _number(corrected(x, z, 10, seed), "the corrected information")
    expect(again == values[-1], "the same seed must give the same number: make a generator of it")
    mean = float(np.mean(values))
    expect(
        abs(mean) > 0.02,
        "dependent labels come out at 0: shuffle one side only, so that the pairs are broken",
    )
    expect(abs(mean - (right - np.log(1000))) > 0.05, "does your correction vanish for large N?")
    expect(
        abs(mean - right) < 0.05,
        f"20 samples of 1,000 pairs with {right:.2f} nats average to {mean:.2f}: "
        "the correction must vanish for large N",
    )


def _solutions() -> tuple[Callable[..., Any], ...]:
    """One right answer each, under the names that the notebook asks for."""

    def kl(q, p):
        """Sum q log(q / p) where q has mass; where only p is empty the term is infinite."""
        q, p = np.asarray(q, dtype=float), np.asarray(p, dtype=float)
        here = q > 0
        if (p[here] == 0).any():
            return np.inf
        return float((q[here] * np.log(q[here] / p[here])).sum())

    def information(posteriors, weights=None):
        """Entropy of the mean row, minus the mean of the entropies of the rows."""
        weights = np.ones(len(posteriors)) if weights is None else np.asarray(weights)
        weights = weights / weights.sum()

        def row_entropy(row):
            return -np.sum(row[row > 0] * np.log(row[row > 0]))

        mean_of_entropies = sum(
            w * row_entropy(row) for w, row in zip(weights, posteriors, strict=True)
        )
        return row_entropy(weights @ posteriors) - mean_of_entropies

    def pairing_example():
        """Two values each: paired alike they make two cells, crossed they make four."""
        x, z = [0, 0, 1, 1], [0, 0, 1, 1]
        return x, z, [0, 1, 2, 3], [0, 2, 1, 3]

    def corrected(x, z, shuffles, seed):
        """Plug-in information minus its mean over pairings that are broken on purpose."""
        random = np.random.default_rng(seed)
        floors = [plug_in_information(x, random.permutation(z)) for _ in range(shuffles)]
        return plug_in_information(x, z) - sum(floors) / shuffles

    return kl, information, pairing_example, corrected


kl, information, pairing_example, corrected = (
    Exercise(title, check, (solution,))
    for title, check, solution in zip(
        (
            "KL for tables",
            "Information from posteriors",
            "A pairing that matters",
            "Correct the bias",
        ),
        (_check_kl, _check_information, _check_pairing, _check_corrected),
        _solutions(),
        strict=True,
    )
)
