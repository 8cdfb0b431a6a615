"""The checks of notebook 05: right answers pass, typical wrong ones meet their hint."""

import numpy as np
import pytest
from answers import rejects

from lvmlab.exercises import images_and_priors as exercises


def _logs(z, means, scales):
    each = -0.5 * ((z - means) / scales) ** 2 - np.log(scales) - 0.5 * np.log(2 * np.pi)
    return each.sum(-1)


def _parts(means, scales, samples):
    """Log q(z_n|x_m), log q(z_n) and log p(z_n)."""
    pairs = _logs(samples[:, None], means, scales)
    aggregate = np.logaddexp.reduce(pairs, 1) - np.log(len(means))
    return pairs, aggregate, _logs(samples, 0, np.ones_like(samples))


def _split(information=None, mismatch=None):
    def split_rate(means, scales, samples):
        pairs, aggregate, prior = _parts(means, scales, samples)
        own = pairs.diagonal()
        first = (own - aggregate).mean() if information is None else information(pairs, own)
        rest = (own - prior).mean() - first
        return first, rest if mismatch is None else mismatch(own, prior, first)

    return split_rate


def _left_out(pairs, own):
    pairs = pairs.copy()
    np.fill_diagonal(pairs, -np.inf)
    return (own - np.logaddexp.reduce(pairs, 1)).mean() + np.log(len(pairs) - 1)


WRONG_SPLITS = {
    "own row left out": (_split(_left_out), "left each row's own posterior out"),
    "log N twice": (
        _split(lambda pairs, own: (own - np.logaddexp.reduce(pairs, 1)).mean()
               + 2 * np.log(len(pairs))),
        "exceeds its cap",
    ),
    "no log N": (
        _split(lambda pairs, own: (own - np.logaddexp.reduce(pairs, 1)).mean()),
        "not their sum",
    ),
    "mean of logs": (_split(lambda pairs, own: (own - pairs.mean(1)).mean()), "exceeds its cap"),
    "samples at random": (_split(lambda pairs, own: 2.0), "nats, yours is 2.0"),
    "whole rate": (_split(None, lambda own, prior, first: (own - prior).mean()), "the whole rate"),
    "opposite mismatch": (
        _split(None, lambda own, prior, first: first - (own - prior).mean()),
        "add up to the rate",
    ),
    "information alone": (lambda m, s, z: 1.0, "return two things"),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "hint"), WRONG_SPLITS.values(), ids=WRONG_SPLITS)
def test_wrong_splits(answer, hint):
    rejects(exercises.split_the_rate, hint, answer)


def test_the_split_comes_to_the_closed_form():
    """I = 2.8842 and mismatch 1.0229 nats at eta = 0.05, of 2,000 rows on several seeds."""
    found = np.array(
        [exercises._split_rate(*exercises._posteriors(2000, 0.05, seed)) for seed in range(8)]
    )
    error = found.std(0, ddof=1) / 8**0.5
    assert (abs(found.mean(0) - [2.8842, 1.0229]) < 4 * error + 0.01).all()  # own row: a little low


WRONG_VAMPS = {
    "no 1/K": (lambda z, m, s: np.logaddexp.reduce(_logs(z[:, None], m, s), 1), "integrates to K"),
    "mean of logs": (lambda z, m, s: _logs(z[:, None], m, s).mean(1), "not their logarithms"),
    "nearest": (lambda z, m, s: _logs(z[:, None], m, s).max(1), "not the nearest alone"),
    "underflow": (
        lambda z, m, s: np.log(np.exp(_logs(z[:, None], m, s) - 3000).mean(1)) + 3000,
        "logsumexp",
    ),
    "variances": (
        lambda z, m, s: np.logaddexp.reduce(_logs(z[:, None], m, s**2), 1) - np.log(len(m)),
        "nats off",
    ),
    "by component": (lambda z, m, s: _logs(z[:, None], m, s), "one number for each z"),
}


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize(("answer", "hint"), WRONG_VAMPS.values(), ids=WRONG_VAMPS)
def test_wrong_vamps(answer, hint):
    rejects(exercises.vamp_prior, hint, answer)


def test_the_vamp_solution_is_a_density():
    grid = np.linspace(-6, 6, 4001)[:, None]
    nats = exercises._vamp_log_prob(grid, np.array([[-1.0], [1.0]]), np.full((2, 1), 0.5))
    assert abs(np.trapezoid(np.exp(nats), grid[:, 0]) - 1) < 1e-6
    np.testing.assert_allclose(np.exp(nats[[2000]]), 0.107982, atol=1e-6)


def _first(bounds):
    def smallest_s(log_weights, tolerance):
        values = bounds(log_weights, np.arange(1, log_weights.shape[1] + 1))
        return int((values >= values[-1] - tolerance).argmax()) + 1

    return smallest_s


def _exact(w, counts):
    return np.logaddexp.accumulate(w, 1).mean(0) - np.log(counts)


WRONG_SIZES = {
    "largest weight": (_first(lambda w, n: np.maximum.accumulate(w, 1).mean(0)), "lucky sample"),
    "mean of logs": (_first(lambda w, n: w.cumsum(1).mean(0) / n), "that is bound_1 for every S"),
    "sum": (_first(lambda w, n: np.logaddexp.accumulate(w, 1).mean(0)), "divide by S"),
    "pooled rows": (
        _first(lambda w, n: np.logaddexp.accumulate(np.logaddexp.reduce(w, 0)) - np.log(n)),
        "rows have own bounds",
    ),
    "one short": (lambda w, t: max(1, _first(_exact)(w, t) - 1), "you are one short"),
    "all of them": (lambda w, t: w.shape[1], "no fewer are"),
    "none": (lambda w, t: 0, "between 1 and the 600"),
    "a fraction": (lambda w, t: 2.5, "a whole number"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_SIZES.values(), ids=WRONG_SIZES)
def test_wrong_sample_sizes(answer, hint):
    rejects(exercises.enough_samples, hint, answer)


def test_many_weights_come_to_the_logarithm_of_the_mean_weight():
    """The oracle of the exercise: 100,000 log-normal weights with mean exp(-20 - row / 2)."""
    bounds = exercises._bounds(exercises._weights(4, 100_000, 0, 1.2))
    assert abs(bounds[-1] + 20.75) < 0.03
    np.testing.assert_allclose(exercises._bounds(np.array([[-1.0, -2.0, -1.5, -0.5]]))[-1],
                               -1.098956, atol=1e-6)  # fmt: skip


WRONG_EPOCHS = {
    "annealed loss": (lambda d, r, b: int((d + b * r).argmin()), "lowest annealed loss"),
    "last": (lambda d, r, b: len(d) - 1, "the last epoch"),
    "distortion": (lambda d, r, b: int(d.argmin()), "what the code costs"),
    "rate": (lambda d, r, b: int(r.argmin()), "a model that says nothing"),
    "counted from the end of the warm-up": (
        lambda d, r, b: int((d + r)[b >= 1].argmin()),
        "number the epochs from 0",
    ),
    "first": (lambda d, r, b: 5, "lowest in epoch"),
    "a number": (lambda d, r, b: 0.5, "the number of an epoch"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_EPOCHS.values(), ids=WRONG_EPOCHS)
def test_wrong_epochs(answer, hint):
    rejects(exercises.honest_epoch, hint, answer)
