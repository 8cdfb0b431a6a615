"""Exercises of notebook 09: the exact sum, the best weights, MMD by hand, blind to proportions."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lvmlab.exercises import Exercise, array, expect

Array = Any

ZERO = "mind 0 log 0"


def _cases() -> list[tuple[Array, Array, Array, Array]]:
    random = np.random.default_rng(0)
    book = (np.array([[-3.0, -4]]), np.array([[0.537678, 1.812213]]), np.array([[0.7, 0.3]]))
    cases = [(*book, np.array([0.5, 0.5]))]
    for k in (2, 3, 5):
        pi, prior = random.dirichlet(np.ones(k), size=4), random.dirichlet(np.ones(k))
        cases.append((random.normal(-50, 9, (4, k)), random.gamma(2.0, 2.0, (4, k)), pi, prior))
    return cases


def _check_bound(mixture_bound: Callable[..., Any]) -> None:
    for log_lik, kl, pi, prior in _cases():
        found = array("the bound", mixture_bound(log_lik, kl, pi, prior), (len(pi),), ZERO)
        discrete = (pi * np.log(pi / prior)).sum(1)
        inside = (pi * log_lik).sum(1)
        right = inside - (pi * kl).sum(1) - discrete

        def far(other: Array, found: Array = found) -> bool:
            return bool(abs(found - other).max() > 1e-5)

        expect(
            far(inside - kl.sum(1) - discrete) and far(inside - kl.mean(1) - discrete),
            "the KL of z is weighed by pi like the likelihood: the bracket closes after it; on the "
            "first example the bound is -4.302322",
        )
        expect(far(right + 2 * discrete), "a bound cannot rise with the divergence of k")
        expect(far(right + discrete), "where is the KL of pi from the prior of k?")
        uniform = (pi * np.log(pi * pi.shape[1])).sum(1)
        even = np.ptp(prior) < 1e-9
        expect(even or far(inside - (pi * kl).sum(1) - uniform), "the prior of k need not be even")
        expect(not far(right), f"expected {right[0]:.6f} in the first row, yours is {found[0]:.6f}")
    one_hot = mixture_bound(np.array([[-1.0, -9]]), np.ones((1, 2)), np.eye(2)[:1], np.full(2, 0.5))
    value = array("the bound at a weight of 0", one_hot, (1,), ZERO)
    expect(
        abs(value[0] + 2 + np.log(2)) < 1e-6,
        f"with all weight on one k it is {-2 - np.log(2):.4f}, yours is {value[0]:.4f}",
    )


def _check_best(best_pi: Callable[..., Any]) -> None:
    random = np.random.default_rng(1)
    f = np.concatenate([random.normal(0, s, (3, 4)) for s in (1, 30)]) - 200
    prior = np.array([0.7, 0.2, 0.07, 0.03])
    for weights in (np.full(4, 0.25), prior):
        pi = array("the weights", best_pi(f, weights), f.shape, ZERO)
        expect(abs(pi.sum(1) - 1).max() < 1e-6 and (pi >= 0).all(), "rows must sum to 1")
        plus, minus, flat = (
            np.exp(t - t.max(1, keepdims=True))
            / np.exp(t - t.max(1, keepdims=True)).sum(1)[:, None]
            for t in (f + np.log(weights), -f, f)
        )
        expect(abs(pi - minus).max() > 1e-6, "f is a gain: more of it deserves more weight")
        expect(
            np.ptp(weights) < 1e-9 or abs(pi - flat).max() > 1e-6,
            "the prior of k enters too: try a prior of .99 and .01",
        )
        expect(
            abs(pi - np.eye(4)[f.argmax(1)]).max() > 1e-6,
            "all weight on the best k pays the whole KL of k: some nearby k deserve a little",
        )

        def bound(pi: Array, f: Array = f, weights: Array = weights) -> Array:
            return (pi * f - np.where(pi > 0, pi * np.log((pi + 1e-300) / weights), 0)).sum(-1)

        others = random.dirichlet(np.ones(4), size=(1000, 1))
        expect(
            (bound(pi) >= bound(others) - 1e-9).all(), "some random weights do better than yours"
        )
        expect(abs(pi - plus).max() < 1e-6, "close, but not at the maximum: differentiate line 1")


def _plain_mmd(z: Array, y: Array, c: float, pi: Array | None, unbiased: bool) -> float:
    """By loops over pairs, and no matrix."""
    n, m = len(z), len(y)
    sums = [0.0, 0.0, 0.0]

    def kernel(a: Array, b: Array) -> float:
        return c / (c + ((a - b) ** 2).sum())

    ks = range(1 if pi is None else z.shape[1])
    code = (lambda i, k: (z[i], 1.0)) if pi is None else (lambda i, k: (z[i, k], pi[i, k]))
    for i in range(n):
        for k in ks:
            (a, w), others = code(i, k), [j for j in range(n) if j != i or not unbiased]
            for j in others:
                for other, v in (code(j, h) for h in ks):
                    sums[0] += w * v * kernel(a, other) / (n * (n - unbiased))
            sums[2] += sum(w * kernel(a, b) for b in y) / (n * m)
    for i in range(m):
        others = [j for j in range(m) if j != i or not unbiased]
        sums[1] += sum(kernel(y[i], y[j]) for j in others) / (m * (m - unbiased))
    return sums[0] + sums[1] - 2 * sums[2]


def _check_mmd(mmd_squared: Callable[..., Any]) -> None:
    random = np.random.default_rng(2)
    z, y = np.array([[0.0, 0], [1, 0], [0, 2]]), np.array([[0.5, 0.5], [1, 1], [-1, 0]])
    for c in (1.0, 4.0):
        u, v = (float(mmd_squared(z, y, c, None, unbiased)) for unbiased in (True, False))
        biased, right = (_plain_mmd(z, y, c, None, unbiased) for unbiased in (False, True))
        expect(
            abs(u) > 1e-9,
            "you clip at 0: an unbiased estimate of 0 must be negative now and then",
        )
        expect(
            abs(u - biased) > 1e-6,
            "i = j is still in the U statistic: its mean over equal draws is positive",
        )
        rooted = c / (c + np.sqrt(((z[:, None] - y) ** 2).sum(-1)))
        cross = rooted.mean()
        off = ~np.eye(3, dtype=bool)
        own = [(c / (c + np.sqrt(((s[:, None] - s) ** 2).sum(-1))))[off].mean() for s in (z, y)]
        expect(abs(u - (sum(own) - 2 * cross)) > 1e-6, "the kernel has the SQUARED distance")
        expect(abs(u - right) < 1e-6, f"at C = {c:g} the U statistic is {right:.6f}, yours {u:.6f}")
        expect(abs(v - biased) < 1e-6, f"at C = {c:g} with i = j it is {biased:.6f}, yours {v:.6f}")
    codes, pi, other = random.normal(size=(5, 3, 2)), random.dirichlet(np.ones(3), 5), y
    found = float(mmd_squared(codes, other, 1.0, pi, True))
    right = _plain_mmd(codes, other, 1.0, pi, True)
    mean = _plain_mmd((pi[..., None] * codes).sum(1), other, 1.0, None, True)
    expect(abs(found - mean) > 1e-6, "weights belong to the kernels, not to the codes' average")
    flat = _plain_mmd(codes, other, 1.0, np.full((5, 3), 1 / 3), True)
    expect(abs(found - flat) > 1e-6, "you ignore pi: each row brings K codes with weights")
    expect(
        abs(found - right) < 1e-6,
        f"with weights it is {right:.6f}, yours {found:.6f}: leave out pairs of a ROW with itself",
    )


def _check_blind(blind_pair: Callable[..., Any]) -> None:
    made = blind_pair()
    expect(isinstance(made, tuple) and len(made) == 3, "return three things: z, k_first, k_second")
    z, first, second = (np.asarray(v) for v in made)
    expect(
        z.ndim == 2 and len(z) >= 4 and first.shape == second.shape == (len(z),),
        "z must be (N, D) with N of 4 or more, and both k (N,): the positions are shared",
    )
    random = np.random.default_rng(3)
    truth = random.integers(0, 2, 400)
    y = np.array([[-3.0], [3.0]])[truth] + 0.3 * random.normal(size=(400, 1))
    expect(z.shape[1] == 1, "the prior of this exercise is on the line: z must be (N, 1)")
    values = [_joint_mmd(z, k, y, truth) for k in (first, second)]
    plain = _joint_mmd(z, np.zeros(len(z)), y, np.zeros(400)) / 11
    expect(
        plain < 0.3,
        f"the positions alone must look like the prior, bumps at -3 and 3; MMD^2 is {plain:.2f}",
    )
    expect(
        abs(values[0] - values[1]) > 0.3,
        f"the joint kernel says {values[0]:.3f} and {values[1]:.3f}: it must tell them apart. Let "
        "one k follow the position, and the other not",
    )
    expect(
        min(values) < 0.5,
        f"one of the two labellings must agree with the prior, k = 0 at -3 and k = 1 at 3; the "
        f"joint MMD^2 of yours are {values[0]:.2f} and {values[1]:.2f}",
    )


def _joint_mmd(z: Array, k: Array, y: Array, truth: Array, same: float = 10.0) -> float:
    """The U statistic with the kernel (1 + same [k = k']) / (1 + distance squared)."""

    def table(a: Array, ka: Array, b: Array, kb: Array) -> Array:
        near = 1 / (1 + ((a[:, None] - b) ** 2).sum(-1))
        return near * (1 + same * (ka[:, None] == kb))

    def off(t: Array) -> float:
        return float((t.sum() - np.trace(t)) / (len(t) * (len(t) - 1)))

    return (
        off(table(z, k, z, k))
        + off(table(y, truth, y, truth))
        - 2 * float(table(z, k, y, truth).mean())
    )


def _solutions() -> tuple[Callable[..., Any], ...]:
    """One right answer each, under the names that the notebook asks for."""

    def mixture_bound(log_lik, kl, pi, prior):
        """Line 1: both the likelihood and the KL of z stand under the sum over k."""
        from scipy.special import xlogy

        return (pi * (log_lik - kl)).sum(1) - (xlogy(pi, pi) - xlogy(pi, prior)).sum(1)

    def best_pi(f, prior):
        """Line 2: a softmax of gains in nats, the prior beside them."""
        from scipy.special import softmax

        return softmax(f + np.log(prior), axis=1)

    def mmd_squared(z, y, C, pi=None, unbiased=True):
        """Line 5: kernels of all pairs, rows with themselves left out."""
        z, pi = (z[:, None], np.ones((len(z), 1))) if pi is None else (z, pi)
        w, rows = pi.ravel(), np.repeat(np.arange(len(z)), z.shape[1])

        def mean(a, b, u, v, keep, pairs):
            kernel = C / (C + ((a[:, None] - b) ** 2).sum(-1))
            return (u[:, None] * v * kernel * keep).sum() / pairs

        z, n, m = z.reshape(len(w), -1), len(z), len(y)
        ones, everyone = np.ones(m), 1.0
        others = rows[:, None] != rows if unbiased else everyone
        else_ = ~np.eye(m, dtype=bool) if unbiased else everyone
        return (
            mean(z, z, w, w, others, n * (n - unbiased))
            + mean(y, y, ones, ones, else_, m * (m - unbiased))
            - 2 * mean(z, y, w, ones, everyone, n * m)
        )

    def blind_pair():
        """The same places, k by place and k constant."""
        z = np.concatenate([np.full((20, 1), -3.0), np.full((20, 1), 3.0)])
        return z, (z[:, 0] > 0).astype(int), np.zeros(40, dtype=int)

    return mixture_bound, best_pi, mmd_squared, blind_pair


_mixture_bound, _best_pi, _mmd_squared, _blind_pair = _solutions()

exact_sum = Exercise("Exact sum", _check_bound, (_mixture_bound,))
best_weights = Exercise("Best weights", _check_best, (_best_pi,))
mmd_by_hand = Exercise("MMD squared", _check_mmd, (_mmd_squared,))
blind_to_proportions = Exercise("Blind to proportions", _check_blind, (_blind_pair,))
