"""Exercises of notebook 05: split the rate, a VampPrior, enough samples, an honest epoch."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from lvmlab.exercises import Exercise, expect, number

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def _log_normal(z: Any, mean: Any, scale: Any) -> Any:
    """Log-density of a diagonal Gaussian, summed over the last axis, nats."""
    each = -0.5 * ((z - mean) / scale) ** 2 - np.log(scale) - HALF_LOG_TWO_PI
    return each.sum(-1)


def _log_sum_exp(values: Any, axis: int) -> Any:
    peak = values.max(axis, keepdims=True)
    return np.log(np.exp(values - peak).sum(axis)) + peak.squeeze(axis)


def _posteriors(rows: int, aggregate: float, seed: int) -> tuple[Any, Any, Any]:
    """Means, scales and one sample each of q(z|x) for the linear pair of notebook 04, w = 2.

    The aggregate is N(0, `aggregate`) and the share of noise in z the same part of it, so the
    information is 2.8842 nats at 0.05 and the mismatch (0.05 - 1 - log 0.05) / 2 = 1.0229.
    """
    random = np.random.default_rng(seed)
    share = 0.0625 * aggregate  # rho of notebook 04: beta eta s^2 / v = eta / 16
    means = math.sqrt(aggregate * (1 - share)) * random.standard_normal((rows, 1))
    scales = np.full((rows, 1), math.sqrt(aggregate * share))
    return means, scales, means + scales * random.standard_normal((rows, 1))


def _split(means: Any, scales: Any, samples: Any) -> tuple[float, float, float, float]:
    """Information with and without the own row in the aggregate, mismatch, rate."""
    rows = len(means)
    pairs = _log_normal(samples[:, None], means[None], scales[None])
    own, prior = pairs.diagonal(), _log_normal(samples, 0.0, np.ones_like(samples))
    everyone = _log_sum_exp(pairs, 1) - math.log(rows)
    others = pairs.copy()
    np.fill_diagonal(others, -np.inf)
    without = _log_sum_exp(others, 1) - math.log(rows - 1)
    gains = (own - everyone).mean(), (own - without).mean()
    return gains[0], gains[1], (everyone - prior).mean(), (own - prior).mean()


@cache
def _cases() -> list[tuple[tuple[Any, ...], tuple[float, ...]]]:
    """Posteriors with their samples, and what `_split` says of them."""
    cases = [_posteriors(2000, 0.05, 0), _posteriors(300, 0.4, 1)]
    random = np.random.default_rng(2)
    means = random.standard_normal((60, 3))
    scales = np.exp(random.normal(-1, 0.5, (60, 3)))
    cases.append((means, scales, means + scales * random.standard_normal((60, 3))))
    far = 100.0 * np.arange(5)[:, None]
    cases.append((far, np.ones((5, 1)), far + 0.1))
    return [(case, _split(*case)) for case in cases]


def _check_split(split_rate: Callable[..., Any]) -> None:
    for case, right in _cases():
        answer = split_rate(*(part.copy() for part in case))
        expect(
            isinstance(answer, tuple) and len(answer) == 2,
            "return two things: information, mismatch",
        )
        found = number("information", answer[0]), number("mismatch", answer[1])
        _compare_split(len(case[0]), found, right)


def _compare_split(rows: int, found: tuple[float, float], right: tuple[float, ...]) -> None:
    information, mismatch = found
    inside, outside, _, rate = right
    cap = math.log(rows)
    tight = 1e-6 * (1 + abs(rate))
    expect(
        abs(information - outside) > tight or abs(outside - inside) < 2 * tight,
        "you left each row's own posterior out of q(z): such an estimate is too high on average "
        f"and has no cap. Here q(z) is the mean over all {rows} rows",
    )
    expect(
        information < cap + tight,
        f"your information {information:.3f} exceeds its cap, log {rows} = {cap:.3f}: q(z) is a "
        "mean over the rows, so a log N belongs to it, and once",
    )
    expect(
        abs(information - (inside - cap)) > tight,
        f"q(z) is the mean of the rows' densities, not their sum: you are log {rows} too low",
    )
    expect(
        abs(information - inside) < tight,
        f"for {rows} rows the mean of log q(z_n|x_n) - log q(z_n) is {inside:.4f} nats, yours is "
        f"{information:.4f}",
    )
    expect(
        abs(mismatch - rate) > tight,
        "this is the whole rate: the mismatch is what the information leaves of it",
    )
    expect(
        abs(information + mismatch - rate) < tight,
        f"the two parts must add up to the rate, {rate:.4f} nats; yours give "
        f"{information + mismatch:.4f}",
    )


def _check_vamp(vamp_log_prob: Callable[..., Any]) -> None:
    one = np.array([[-1.0], [1.0]]), np.full((2, 1), 0.5)
    random = np.random.default_rng(0)
    wide = random.standard_normal((7, 3)), np.exp(random.normal(-1, 0.4, (7, 3)))
    single = random.standard_normal((1, 2)), np.exp(random.normal(0, 0.4, (1, 2)))
    far = np.array([[-60.0], [60.0]]), np.full((2, 1), 0.5)
    places = [np.array([[0.0], [1.0]]), random.standard_normal((5, 3))]
    places += [random.standard_normal((4, 2)), np.array([[0.0], [59.0]])]
    for (means, scales), z in zip((one, wide, single, far), places, strict=True):
        rows, components = len(z), len(means)
        answer = np.asarray(vamp_log_prob(z.copy(), means.copy(), scales.copy()), dtype=float)
        expect(
            answer.shape == (rows,),
            f"one number for each z: ({rows},), yours has shape {answer.shape}",
        )
        expect(
            np.isfinite(answer).all(),
            "a z far from every posterior gave an infinite logarithm: take the largest exponent "
            "out before exp (logsumexp)",
        )
        parts = _log_normal(z[:, None], means[None], scales[None])
        right = _log_sum_exp(parts, 1) - math.log(components)
        off = np.abs(answer - right).max()
        expect(
            components == 1 or np.abs(answer - right - math.log(components)).max() > 1e-9,
            f"your density integrates to K = {components}, not to 1",
        )
        expect(
            components == 1 or np.abs(answer - parts.mean(1)).max() > 1e-9,
            "a mixture averages densities, not their logarithms",
        )
        expect(
            components == 1 or np.abs(answer - parts.max(1)).max() > 1e-9,
            "every posterior counts at every z, not the nearest alone",
        )
        expect(off < 1e-6, f"for K = {components} your log-density is {off:.4g} nats off")


def _weights(rows: int, samples: int, seed: int, spread: float) -> Any:
    """Log-weights whose mean weight is exp(-20 - row / 2)."""
    random = np.random.default_rng(seed)
    noise = spread * random.standard_normal((rows, samples)) - spread**2 / 2
    return noise - 20 - np.arange(rows)[:, None] / 2


def _bounds(log_weights: Any) -> Any:
    """The mean over rows of bound_1 ... bound_S, (S,)."""
    return (
        np.logaddexp.accumulate(log_weights, 1).mean(0)
        - np.log(np.arange(1, log_weights.shape[1] + 1))
    )  # fmt: skip


def _check_enough(smallest_s: Callable[..., Any]) -> None:
    answers = []
    for seed, tolerance in ((0, 0.3), (0, 0.1), (0, 0.03), (1, 0.1), (2, 0.5), (3, 0.01)):
        weights = _weights(40, 600, seed, 1.2)
        found = smallest_s(weights.copy(), tolerance)
        expect(
            isinstance(found, int | np.integer) and not isinstance(found, bool),
            f"return a whole number of samples, yours is {type(found).__name__}",
        )
        expect(1 <= found <= 600, f"between 1 and the 600 samples there are, yours is {found}")
        answers.append(int(found))
        _compare_enough(weights, tolerance, int(found))
    expect(answers[0] <= answers[1] <= answers[2], "a smaller tolerance needs no fewer samples")


def _first(values: Any, tolerance: float) -> int:
    return int((values >= values[-1] - tolerance).argmax()) + 1


def _compare_enough(weights: Any, tolerance: float, found: int) -> None:
    right = _first(_bounds(weights), tolerance)
    told = f"with a tolerance of {tolerance:g} nats"
    if found == right:
        return
    lucky = _first(np.maximum.accumulate(weights, 1).mean(0), tolerance)
    expect(found != lucky, f"{told} you took the largest weight: one lucky sample is no mean")
    counts = np.arange(1, weights.shape[1] + 1)
    flat = _first(weights.cumsum(1).mean(0) / counts, tolerance)
    expect(found != flat, f"{told} you averaged the log-weights: that is bound_1 for every S")
    summed = _first(np.logaddexp.accumulate(weights, 1).mean(0), tolerance)
    expect(found != summed, f"{told} you summed the weights: divide by S, a bound is a mean")
    pooled = _first(np.logaddexp.accumulate(np.logaddexp.reduce(weights, 0)) - np.log(counts),
                    tolerance)  # fmt: skip
    expect(found != pooled, f"{told} you averaged weights over the rows: rows have own bounds")
    expect(
        found + 1 != right,
        f"{told} you are one short: the first sample is S = 1, not S = 0",
    )
    expect(False, f"{told} {right} samples are enough and no fewer are, yours is {found}")


def _check_epoch(best_epoch: Callable[..., Any]) -> None:
    for seed in range(6):
        random = np.random.default_rng(seed)
        epochs = 40
        t = np.arange(epochs)
        rate = 3 + 30 * np.exp(-t / 6) + 0.1 * np.maximum(0, t - 18)
        rate += 0.2 * random.standard_normal(epochs)
        distortion = 21 + 8 * np.exp(-t / 9) - 3 * np.exp(-t / 6)
        distortion += 0.06 * np.maximum(0, t - 25) + 0.1 * random.standard_normal(epochs)
        chosen = []
        for warm_up in (1, 10, 30):
            beta = np.minimum(1, t / warm_up)
            found = best_epoch(distortion.copy(), rate.copy(), beta)
            expect(
                isinstance(found, int | np.integer) and 0 <= found < epochs,
                f"return the number of an epoch, 0 to {epochs - 1}, yours is {found!r}",
            )
            _compare_epoch(distortion, rate, beta, int(found))
            chosen.append(int(found))
        expect(len(set(chosen)) == 1, "the choice must not depend on the schedule of beta")


def _compare_epoch(distortion: Any, rate: Any, beta: Any, found: int) -> None:
    right = int((distortion + rate).argmin())
    if found == right:
        return
    expect(
        found != int((distortion + beta * rate).argmin()),
        f"epoch {found} has the lowest annealed loss: at beta = {beta[found]:.2f} the rate was "
        "cheap, of course it was low",
    )
    expect(
        found != int((distortion + rate)[beta >= 1].argmin()),
        "you count from the end of the warm-up: number the epochs from 0",
    )
    expect(
        found != len(rate) - 1, "the last epoch is not the best: the validation rose again before"
    )
    expect(found != int(distortion.argmin()), "the distortion alone leaves out what the code costs")
    expect(found != int(rate.argmin()), "the rate alone: a model that says nothing would win")
    expect(False, f"the negative bound is lowest in epoch {right}, not in {found}")


def _solutions() -> tuple[Callable[..., Any], ...]:
    """One right answer each, under the names that the notebook asks for."""

    def split_rate(means, scales, samples):
        """Line 1: own log-density minus that of the mean posterior; the rest is mismatch."""
        far = (samples[:, None] - means) / scales
        pairs = (-0.5 * far**2 - np.log(scales) - 0.5 * np.log(2 * np.pi)).sum(-1)
        peak = pairs.max(1, keepdims=True)
        aggregate = np.log(np.exp(pairs - peak).mean(1)) + peak[:, 0]
        prior = (-0.5 * samples**2 - 0.5 * np.log(2 * np.pi)).sum(1)
        return (pairs.diagonal() - aggregate).mean(), (aggregate - prior).mean()

    def vamp_log_prob(z, means, scales):
        """Line 2: the log of a mean of K densities, by log-sum-exp."""
        far = (z[:, None] - means) / scales
        parts = (-0.5 * far**2 - np.log(scales) - 0.5 * np.log(2 * np.pi)).sum(-1)
        peak = parts.max(1)
        return peak + np.log(np.exp(parts - peak[:, None]).sum(1)) - np.log(len(means))

    def smallest_s(log_weights, tolerance):
        """Line 4: all bounds from one pass, averaged over rows."""
        counts = np.arange(1, log_weights.shape[1] + 1)
        bounds = (np.logaddexp.accumulate(log_weights, axis=1) - np.log(counts)).mean(0)
        return int(np.argmax(bounds >= bounds[-1] - tolerance)) + 1

    def best_epoch(distortion, rate, beta):
        """The bound has beta = 1 whatever the training had."""
        return int(np.argmin(distortion + rate))

    return split_rate, vamp_log_prob, smallest_s, best_epoch


_split_rate, _vamp_log_prob, _smallest_s, _best_epoch = _solutions()

split_the_rate = Exercise("Split the rate", _check_split, (_split_rate,))
vamp_prior = Exercise("VampPrior", _check_vamp, (_vamp_log_prob,))
enough_samples = Exercise("Enough samples?", _check_enough, (_smallest_s,))
honest_epoch = Exercise("An honest epoch", _check_epoch, (_best_epoch,))
