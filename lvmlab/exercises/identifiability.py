"""Exercises of notebook 11: MCC, its floor, enough segments, held-out CCA."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lvmlab.exercises import Exercise, expect, number


def _two(value: Any, names: str) -> tuple[float, float]:
    expect(isinstance(value, tuple) and len(value) == 2, f"return two things: {names}")
    first, second = names.split(", ")
    return number(first, value[0], infinite=True), number(second, value[1], infinite=True)


def _waves() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three short waves, their copy moved, flipped and stretched, and their mix."""
    z = np.sin(np.arange(1, 9)[:, None] * np.array([1, 2.3, 3.7]))
    moved = z[:, [2, 0, 1]] * np.array([-3, 0.5, 2]) + np.array([1, 2, 3])
    mixed = z @ np.array([[1, 0.5, 0], [0.2, 1, -0.3], [0, 0.4, 1]])
    return z, moved, mixed


def _check_mcc(mcc: Callable[..., Any]) -> None:
    from lvmlab.diagnostics import mcc as known

    z, moved, mixed = _waves()
    found = number("the score", mcc(z, moved))
    expect(
        abs(found - 1) < 1e-9 or abs(found - 1 / 3) > 1e-9,
        "a flipped axis is the same axis: one of three has the other sign here",
    )
    expect(
        abs(found - 1) < 1e-9,
        f"a permuted, flipped, stretched and shifted copy scores 1, yours is {found:.4f}: which of "
        "the four does your score not forgive?",
    )
    cases = [(z, mixed)]
    for seed in range(6):
        random = np.random.default_rng(seed)
        a = random.normal(size=(40, 4))
        cases.append((a, a @ random.normal(size=(4, 4)) + random.normal(size=a.shape)))
    for a, b in cases:
        found, right = number("the score", mcc(a, b)), known(a, b, shuffles=2).mcc
        greedy = np.abs(known(a, b, shuffles=2).correlations).max(1).mean()
        expect(
            abs(found - right) < 1e-6 or abs(found - greedy) > 1e-9,
            f"two latents chose one partner: {found:.4f} is above the best pairing, {right:.4f}",
        )
        expect(abs(found - right) < 1e-6, f"the best pairing gives {right:.6f}, yours {found:.6f}")
        back = number("the score", mcc(b, a))
        expect(abs(back - found) < 1e-9, "the score of (b, a) must be that of (a, b)")


_FLOORS = ((5, 5000, 20), (5, 200, 60), (64, 900, 8), (1, 400, 100))  # d, N, draws


def _check_floor(mcc_floor: Callable[..., Any]) -> None:
    from lvmlab.diagnostics import mcc

    for d, rows, draws in _FLOORS:
        random = np.random.default_rng(d)
        pairs = (random.normal(size=(2, rows, d)) for _ in range(draws))
        scores = np.array([mcc(a, b, shuffles=2).mcc for a, b in pairs])
        mean, spread = _two(mcc_floor(d, rows, draws, 1), "mean, sd")
        told = f"at d={d}, N={rows}"
        expect(mean != 0, "the best of many pairings of absolute values is positive, by chance too")
        near = 4 * scores.std() * math.sqrt(2 / draws)
        small = (1 / math.sqrt(rows), math.sqrt(2 / math.pi / rows))
        alone = any(abs(mean - guess) < 0.05 * guess for guess in small)
        expect(
            abs(mean - scores.mean()) < near or not alone,
            f"{told} you have the floor of one correlation: you forgot the matching",
        )
        expect(
            abs(mean - scores.mean()) < near,
            f"{told} independent Gaussians score {scores.mean():.3f}, yours {mean:.3f}",
        )
        error = scores.std() / math.sqrt(draws)
        expect(
            draws < 50 or abs(spread - scores.std()) < abs(spread - error),  # else too few to tell
            f"{told} sd is that of one score over the draws, {scores.std():.4f}, not {spread:.4f}",
        )
    first, again = mcc_floor(5, 200, 5, 1), mcc_floor(5, 200, 5, 1)
    expect(first == again, "the same seed must give the same floor")
    expect(mcc_floor(5, 200, 5, 2) != first, "another seed must give other draws: use it")


def _matrix(means: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """L by its definition: differences of natural parameters from those of the first segment."""
    natural = np.hstack([means / scales**2, -0.5 / scales**2])
    return (natural[1:] - natural[0]).T


def _check_variability(variability: Callable[..., Any]) -> None:
    means, scales = np.array([[0.0], [1.0], [-1.0]]), np.array([[1.0], [0.5], [2.0]])
    condition, needed = _two(variability(means, scales), "condition, needed")
    expect(needed != 2, "d + 1 is too few: each latent has two statistics, z and z squared")
    expect(
        needed == 3,
        f"for one latent 3 segments are needed (2 differences), yours says {needed:g}",
    )
    wrong = {
        "the second rows are natural parameters, -1/(2 s^2), not variances": (
            [means / scales**2, scales**2]),
        "the first rows are mean / s^2, not means": [means, -0.5 / scales**2],
        "there is a half in -1/(2 s^2)": [means / scales**2, -1 / scales**2],
        "scales are standard deviations: which power enters?": [means / scales, -0.5 / scales],
    }  # fmt: skip
    for hint, rows in wrong.items():
        table = np.hstack(rows)
        other = np.linalg.cond((table[1:] - table[0]).T)
        expect(abs(condition - other) > 1e-6 * other, hint)
    expect(
        abs(condition - 16.341584) < 1e-5,
        f"this L has the condition number 16.341584, yours is {condition:.6f}",
    )
    random = np.random.default_rng(0)
    for d in (2, 5):
        means, scales = random.normal(size=(2 * d + 1, d)), random.uniform(0.3, 2, (2 * d + 1, d))
        condition, needed = _two(variability(means, scales), "condition, needed")
        expect(needed == 2 * d + 1, f"{d} latents need {2 * d + 1} segments, yours says {needed:g}")
        right = np.linalg.cond(_matrix(means, scales))
        expect(
            abs(condition - right) < 1e-6 * right,
            f"with {d} latents the condition number is {right:.4f}, yours {condition:.4f}",
        )
        condition, _ = _two(variability(means, np.ones_like(scales)), "condition, needed")
        expect(
            condition > 1e12,
            f"with equal scales half of the rows are 0 and L is singular, yours is {condition:.3g}",
        )


def _check_held_out(cca_mcc: Callable[..., Any]) -> None:
    from lvmlab.diagnostics import mcc

    for seed in range(3):
        a, b = np.random.default_rng(seed).normal(size=(2, 160, 30))
        _noise_is_noise(cca_mcc, a, b)
        a, b = a[:, :4], b[:, :4]
        b = 0.4 * b + a @ np.random.default_rng(seed + 9).normal(size=(4, 4))
        found = _two(cca_mcc(a, b, 80), "in_sample, held_out")
        fit = (a[:80], b[:80])
        rest = mcc(*fit, align="cca", held_out=(a[80:], b[80:]), shuffles=2)
        expected = mcc(*fit, align="cca", shuffles=2).mcc, float(np.diag(rest.correlations).mean())
        for name, mine, right in zip(("in_sample", "held_out"), found, expected, strict=True):
            expect(
                abs(mine - right) < 1e-6,
                f"on related codes {name} is {right:.6f}, yours is {mine:.6f}",
            )


def _noise_is_noise(cca_mcc: Callable[..., Any], a: np.ndarray, b: np.ndarray) -> None:
    from lvmlab.diagnostics import mcc

    inside, outside = _two(cca_mcc(a, b, 80), "in_sample, held_out")
    expect(inside > 0.4, f"30 dimensions of noise in 80 rows correlate highly, yours {inside:.2f}")
    again = mcc(a[80:], b[80:], align="cca", shuffles=2).mcc
    expect(
        abs(outside - again) > 1e-6,
        f"held-out noise scored {outside:.2f}: re-fitting on the test half is in-sample again",
    )
    rest = mcc(a[:80], b[:80], align="cca", held_out=(a[80:], b[80:]), shuffles=2)
    absolute = float(np.abs(np.diag(rest.correlations)).mean())
    expect(
        abs(outside - absolute) > 1e-9,
        f"held-out noise scored {outside:.2f}: pairs and signs were fitted, so no absolute values",
    )
    expect(
        abs(outside) < 0.1,
        f"held-out noise scored {outside:.2f}: did the fit see these rows, or did means of theirs?",
    )


def _solutions() -> tuple[Callable[..., Any], ...]:
    """One right answer each, under the names that the notebook asks for."""

    def mcc(a, b):
        """A matching on absolute correlations: no latent is used twice."""
        from scipy.optimize import linear_sum_assignment

        d = a.shape[1]
        table = np.abs(np.corrcoef(a.T, b.T)[:d, d:])
        return table[linear_sum_assignment(table, maximize=True)].mean()

    def mcc_floor(d, N, draws, seed):
        """Independent codes are what chance is: simulate them."""
        from lvmlab.diagnostics import mcc

        random = np.random.default_rng(seed)
        pairs = (random.normal(size=(2, N, d)) for _ in range(draws))
        scores = [mcc(a, b, shuffles=2).mcc for a, b in pairs]
        return np.mean(scores), np.std(scores)

    def variability(means, scales):
        """Columns of L are differences of natural parameters; 2 d of them make it square."""
        natural = np.hstack([means / scales**2, -1 / (2 * scales**2)])
        L = (natural[1:] - natural[0]).T
        return np.linalg.cond(L), 2 * means.shape[1] + 1

    def cca_mcc(a, b, fit_rows):
        """Whiten with the first rows, turn with their SVD, apply the same maps to the others."""
        sides = []
        for z in (a, b):
            centred = z - z[:fit_rows].mean(0)
            _, r = np.linalg.qr(centred[:fit_rows])
            sides.append(centred @ np.linalg.inv(r))
        left, right = sides
        u, s, v = np.linalg.svd(left[:fit_rows].T @ right[:fit_rows])
        pairs = zip((left[fit_rows:] @ u).T, (right[fit_rows:] @ v.T).T, strict=True)
        return s.mean(), np.mean([np.corrcoef(x, y)[0, 1] for x, y in pairs])

    return mcc, mcc_floor, variability, cca_mcc


_mcc, _mcc_floor, _variability, _cca_mcc = _solutions()

mean_correlation = Exercise("MCC", _check_mcc, (_mcc,))
know_the_floor = Exercise("Know the floor", _check_floor, (_mcc_floor,))
enough_segments = Exercise("Enough segments?", _check_variability, (_variability,))
held_out_cca = Exercise("Held-out CCA", _check_held_out, (_cca_mcc,))
