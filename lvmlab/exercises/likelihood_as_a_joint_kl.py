"""Exercises of notebook 02: exact marginals, the gap of a bound, EM for counts, no bound here."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lvmlab.exercises import Exercise, expect

MODEL = np.array([[0.20, 0.05], [0.10, 0.15], [0.05, 0.25]])  # p(x, z) of the three data
ENCODER = np.array([[0.7, 0.3], [0.5, 0.5], [0.2, 0.8]])


def _two(answer: Any, what: str) -> tuple[Any, Any]:
    expect(isinstance(answer, tuple) and len(answer) == 2, f"return two things: {what}")
    return answer


def _shaped(name: str, value: Any, shape: tuple[int, ...], meaning: str) -> np.ndarray:
    array = np.asarray(value, dtype=float)
    expect(
        array.shape == shape, f"{name} must have shape {shape}, {meaning}: yours has {array.shape}"
    )
    return array


def _marginal(
    log_marginal: Callable[..., Any], scores: Any, prior: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The answer's two arrays, checked for their shapes; the arguments are copies."""
    scores, log_prior = np.array(scores, dtype=float), np.log(np.asarray(prior, dtype=float))
    size, values = scores.shape
    first, second = _two(log_marginal(scores.copy(), log_prior), "log p(x), and the posterior")
    nats = _shaped("log p(x)", first, (size,), "one number a row")
    return nats, _shaped("the posterior", second, (size, values), "a row for each datum")


def _check_log_marginal(log_marginal: Callable[..., Any]) -> None:
    with np.errstate(all="ignore"):
        scores, even = [[-3.2, -1.1, -2.5, -4.0]], np.full(4, 0.25)
        nats, posterior = _marginal(log_marginal, scores, even)
        expect(abs(nats[0] + 2.132771 - math.log(4)) > 1e-5, "for K=4 you are off by log 4")
        expect(abs(nats[0] + 2.132771 - 2 * math.log(4)) > 1e-5, "the prior sums to 1 already")
        expect(
            abs(nats[0] - (-1.1 - math.log(4))) > 1e-5,
            "the largest score alone is a lower bound on log p(x): the others add to it",
        )
        expect(abs(nats[0] + 2.132771) < 1e-5, f"the first row gives -2.132771, not {nats[0]:.6f}")
        expect(
            abs(posterior.sum() - 1) < 1e-9,
            f"the row of a posterior sums to 1, yours to {posterior.sum():.4f}",
        )
        expect(abs(posterior[0, 1] - 0.702209) < 1e-5, "its second entry is 0.702209")
        _check_prior_and_scale(log_marginal)


def _check_prior_and_scale(log_marginal: Callable[..., Any]) -> None:
    random = np.random.default_rng(0)
    scores, prior = random.normal(size=(6, 3)), np.array([0.7, 0.2, 0.1])
    joint = np.exp(scores) * prior
    nats, posterior = _marginal(log_marginal, scores, prior)
    expect(
        np.allclose(nats, np.log(joint.sum(1))),
        "a prior that is not even must weigh the scores inside the sum",
    )
    expect(
        np.allclose(posterior, joint / joint.sum(1, keepdims=True)),
        "the posterior weighs with the prior as well: normalise p(k) p(x|k), each row by itself",
    )
    for shift in (-10_000.0, 10_000.0):
        moved, same = _marginal(log_marginal, scores + shift, prior)
        expect(
            np.isfinite(moved).all() and np.isfinite(same).all(),
            f"with scores near {shift:,.0f}: exp(-10000) is 0 in floating point and exp(10000) "
            "infinite; subtract the maximum first, add it again at the end",
        )
        expect(np.allclose(moved, nats + shift), "the same number on all scores adds to log p(x)")
        expect(np.allclose(same, posterior), "the same number on all scores leaves the posterior")
    both, _ = _marginal(log_marginal, np.array([[-10_000.0, -9_990.0], [5.0, 4.0]]), [0.5, 0.5])
    expect(
        np.isfinite(both).all() and abs(both[0] + 9_990 + math.log(2)) < 1e-3,
        "rows differ by thousands of nats: each row has a maximum of its own",
    )


def _gaps(elbo_gap: Callable[..., Any], rows: np.ndarray, joint: np.ndarray) -> np.ndarray:
    value = elbo_gap(rows.copy(), joint.copy())
    single = np.asarray(value).shape == ()
    expect(not single, f"there are {len(rows)} gaps, one a row: average last")
    return _shaped("the gap", value, (len(rows),), "one number a row")


def _check_elbo_gap(elbo_gap: Callable[..., Any]) -> None:
    with np.errstate(all="ignore"):
        gaps = _gaps(elbo_gap, ENCODER, MODEL)
        right = np.array([0.028168, 0.020411, 0.003807])
        posterior = MODEL / MODEL.sum(1, keepdims=True)
        reverse = (posterior * np.log(posterior / ENCODER)).sum(1)
        expect(
            not np.allclose(gaps, reverse, atol=1e-6),
            "the expectation is under the encoder: this is KL(posterior, q)",
        )
        unnormalised = right - np.log(MODEL.sum(1))
        expect(
            not np.allclose(gaps, unnormalised, atol=1e-5),
            "you compare with p(x, z), which sums to p(x): divide each row by its sum first",
        )
        expect(not np.allclose(gaps, -right, atol=1e-5), "look at the sign: a KL is never negative")
        expect(
            np.allclose(gaps, right, atol=1e-5),
            f"the first row's gap is 0.028168 nats, yours is {gaps[0]:.6f}",
        )
        _check_elbo_gap_edges(elbo_gap)


def _check_elbo_gap_edges(elbo_gap: Callable[..., Any]) -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        joint = random.dirichlet(np.ones(20)).reshape(5, 4)
        rows = random.dirichlet(np.ones(4), size=5)
        bound = (rows * np.log(joint / rows)).sum(1)
        expect(
            np.allclose(_gaps(elbo_gap, rows, joint), np.log(joint.sum(1)) - bound, atol=1e-9),
            "on a table of 5 x 4 the gap is not log p(x) minus the bound",
        )
        posterior = joint / joint.sum(1, keepdims=True)
        expect(
            abs(_gaps(elbo_gap, posterior, joint)).max() < 1e-12,
            "with the posterior as encoder every gap is 0",
        )
    certain = _gaps(elbo_gap, np.array([[1.0, 0.0]]), np.array([[0.3, 0.1]]))
    expect(
        not np.isnan(certain).any() and abs(certain[0] + math.log(0.75)) < 1e-9,
        "a row (1, 0) is allowed: 0 log 0 = 0, and the gap is -log p(z given x)",
    )


COUNTS = np.array([0, 1, 3, 8, 12])


def _check_e_step(e_step: Callable[..., Any]) -> None:
    rates, weights = np.array([2.0, 9.0]), np.array([0.8, 0.2])
    scores = COUNTS[:, None] * np.log(rates) - rates
    plain, joint = np.exp(scores), np.exp(scores) * weights
    rows = _shaped(
        "responsibilities", e_step(COUNTS.copy(), rates, weights), (5, 2), "a row for each count"
    )
    even = plain / plain.sum(1, keepdims=True)
    expect(
        not np.allclose(rows, even, atol=1e-6),
        "a rare component must explain more to be chosen: use the weights",
    )
    expect(
        not (np.isin(rows, (0.0, 1.0)).all()),
        "these are one-hot rows, the step of hard EM: keep the probabilities",
    )
    expect(np.allclose(rows.sum(1), 1), "the responsibilities of a count sum to 1 over components")
    expect(
        np.allclose(rows, joint / joint.sum(1, keepdims=True), atol=1e-9),
        "for a count of 3 the first component has "
        f"{joint[2, 0] / joint[2].sum():.4f}, yours {rows[2, 0]:.4f}",
    )
    with np.errstate(all="ignore"):
        large = np.asarray(e_step(np.array([900]), np.array([850.0, 950.0]), np.full(2, 0.5)))
    expect(np.isfinite(large).all(), "a count of 900 overflows: add logarithms, then exponentiate")


def _check_m_step(m_step: Callable[..., Any]) -> None:
    rows = np.array([[0.9, 0.1], [1.0, 0.0], [0.7, 0.3], [0.2, 0.8], [0.0, 1.0]])
    answer = _two(m_step(COUNTS.copy(), rows.copy()), "rates, weights")
    rates = _shaped("rates", answer[0], (2,), "one for each component")
    weights = _shaped("weights", answer[1], (2,), "one for each component")
    right = COUNTS @ rows / rows.sum(0)
    expect(
        np.allclose(rates, right),
        f"the rates should be {right.round(3).tolist()}: set the derivative of the weighted "
        f"log-likelihood to zero; yours are {rates.round(3).tolist()}",
    )
    expect(
        np.allclose(weights.sum(), 1) and np.allclose(weights, rows.mean(0)),
        "a weight is the share of the counts for which its component is responsible",
    )


def _check_em(e_step: Callable[..., Any], m_step: Callable[..., Any]) -> None:
    _check_e_step(e_step)
    _check_m_step(m_step)
    with np.errstate(all="ignore"):
        _check_climb(e_step, m_step)


def _check_climb(e_step: Callable[..., Any], m_step: Callable[..., Any]) -> None:
    random = np.random.default_rng(0)
    counts = random.poisson(np.where(random.random(2000) < 0.6, 2.0, 9.0))
    for seed in range(50):
        start = np.random.default_rng(seed)
        rates, weights = start.uniform(0.5, 15, size=2), start.dirichlet(np.ones(2))
        before = -np.inf
        for _ in range(60 if seed == 0 else 10):
            rows = np.asarray(e_step(counts, rates, weights))
            rates, weights = (np.asarray(a) for a in _two(m_step(counts, rows), "rates, weights"))
            after = _poisson_likelihood(counts, rates, weights)
            expect(after >= before - 1e-9, "the likelihood fell: each step must raise it")
            before = after
        if seed == 0:
            found = np.sort(rates)
            expect(
                abs(found - [2, 9]).max() < 0.3,
                f"2,000 counts of rates 2 and 9 gave {found.round(2).tolist()}",
            )


def _poisson_likelihood(counts: np.ndarray, rates: np.ndarray, weights: np.ndarray) -> float:
    """Mean log-likelihood of a count, in nats, by logarithms."""
    from scipy.special import gammaln, logsumexp

    scores = counts[:, None] * np.log(rates) - rates - gammaln(counts + 1)[:, None]
    return float(logsumexp(scores + np.log(weights), axis=1).mean())


def _check_counterexample(counterexample: Callable[..., Any]) -> None:
    answer = counterexample()
    expect(isinstance(answer, tuple) and len(answer) == 4, "return four numbers: w, s, x and z")
    w, s, x, z = (float(v) for v in answer)
    expect(np.isfinite([w, s, x, z]).all(), "w, s, x and z must be finite numbers")
    expect(s > 0, f"scale is a standard deviation: it must be positive, yours is {s:g}")
    log_joint = _log_normal(z, 0.0, 1.0) + _log_normal(x, w * z, s)
    log_marginal = _log_normal(x, 0.0, math.hypot(w, s))
    narrow = s / math.hypot(w, s)
    if log_joint <= log_marginal:
        expect(
            narrow < 1 / math.sqrt(2 * math.pi),
            f"here log p(x, z) - log p(x) = {log_joint - log_marginal:.3f}. The difference is "
            "log p(z given x): when is a density above 1? Your posterior has a standard deviation "
            f"of {narrow:.3f}",
        )
        expect(
            False,
            f"the posterior is narrow enough ({narrow:.3f}), but z = {z:g} lies "
            f"{abs(z - w * x / (w**2 + s**2)) / narrow:.1f} of its standard deviations off",
        )


def _log_normal(value: float, mean: float, scale: float) -> float:
    return -0.5 * ((value - mean) / scale) ** 2 - math.log(scale) - 0.5 * math.log(2 * math.pi)


def _solutions() -> tuple[Callable[..., Any], ...]:
    """One right answer each, under the names that the notebook asks for."""

    def log_marginal(scores, log_prior):
        """Log-sum-exp of score plus log prior; the softmax of the same sum is the posterior."""
        joint = scores + log_prior
        top = joint.max(1, keepdims=True)
        nats = top[:, 0] + np.log(np.exp(joint - top).sum(1))
        return nats, np.exp(joint - nats[:, None])

    def elbo_gap(q_rows, joint):
        """Row by row KL(q(z|x) || p(z|x)), without the cells that q leaves empty."""
        posterior = joint / joint.sum(1, keepdims=True)
        ratio = np.where(q_rows > 0, q_rows / posterior, 1.0)
        return (q_rows * np.log(ratio)).sum(1)

    def e_step(counts, rates, weights):
        """Posterior of the component; the factorial is common to both and drops out."""
        scores = counts[:, None] * np.log(rates) - rates + np.log(weights)
        scores = scores - scores.max(1, keepdims=True)
        return np.exp(scores) / np.exp(scores).sum(1, keepdims=True)

    def m_step(counts, responsibilities):
        """Weighted means of the counts, and the mean responsibilities."""
        mass = responsibilities.sum(0)
        return counts @ responsibilities / mass, mass / len(counts)

    def counterexample():
        """A posterior of standard deviation 0.05, and z at its mean: its density there is 8."""
        w, s, x = 2.0, 0.1, 1.0
        return w, s, x, w * x / (w**2 + s**2)

    return log_marginal, elbo_gap, e_step, m_step, counterexample


_log_marginal, _elbo_gap, _e_step, _m_step, _counterexample = _solutions()

log_marginal = Exercise("Exact marginal", _check_log_marginal, (_log_marginal,))
elbo_gap = Exercise("The gap", _check_elbo_gap, (_elbo_gap,))
em_for_counts = Exercise("EM for counts", _check_em, (_e_step, _m_step))
counterexample = Exercise("No bound here", _check_counterexample, (_counterexample,))
