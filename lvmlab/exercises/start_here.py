"""Exercises of notebook 00: where the cliff is, who survives it, and did a run fall or stick."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lvmlab.exercises import Exercise, expect

VERDICTS = ("healthy", "unfinished", "optimal collapse", "stuck")


def _information(variance: float, scale: float, beta: float) -> float:
    """Nats between x and its latent at the optimum, for one axis of the data."""
    return max(0.0, 0.5 * float(np.log(variance / (beta * scale**2))))


def _survives(variance: float, scale: float, beta: float) -> bool:
    """Whether the cheapest encoder of one axis uses its latent: a search, not the formula."""
    noise_share = np.linspace(1e-4, 1, 10_000)
    loss = variance * noise_share / (2 * scale**2) - beta / 2 * np.log(noise_share)
    return bool(loss.argmin() < len(noise_share) - 1)


def _agree(answers: list[Any], others: list[float]) -> bool:
    return bool(np.allclose(np.asarray(answers, dtype=float), others, rtol=1e-6))


def _check_cliff(collapse_beta: Callable[..., Any]) -> None:
    rng = np.random.default_rng(0)
    cases = [(4.0, 0.5), (1.0, 0.5), *rng.uniform([0.1, 0.1], [8, 3], (20, 2)).tolist()]
    found = [collapse_beta(variance, scale) for variance, scale in cases]
    expect(
        not _agree(found, [v / s for v, s in cases]),
        "scale is a standard deviation: which power of it enters?",
    )
    expect(
        not _agree(found, [v**0.5 / s for v, s in cases]),
        "compare units: beta has none, and it is compared with a ratio of variances",
    )
    expect(
        not _agree(found, [s**2 / v for v, s in cases]),
        "your beta falls when the data vary more: is it then harder or easier to kill that latent?",
    )
    for (variance, scale), beta in zip(cases, found, strict=True):
        case = f"for variance {variance:.3g} and scale {scale:.3g} you say {beta:.4g}"
        expect(beta > 0, f"{case}: beta is a positive number")
        below, above = (_information(variance, scale, beta * f) for f in (0.999, 1.001))
        expect(below > 0, f"{case}, but just below that beta the information is 0 already")
        expect(above == 0, f"{case}, but just above that beta {above:.2g} nats are left")


def _check_alive(alive: Callable[..., Any]) -> None:
    spectrum = np.array([4.0, 1.0, 0.3])
    expect(
        alive(spectrum, 0.5, 1.0, 2) <= 2,
        "you offered only this many latents: three axes are worth one, but there are two to give",
    )
    expect(
        alive(spectrum, 0.5, 4.0, 3) == 1 and alive(spectrum, 0.5, 16.0, 3) == 0,
        "axes of variance 4, 1 and 0.3, scale 0.5: at beta = 4 and at beta = 16 an axis is exactly "
        "on the edge, and at equality the information is exactly 0",
    )
    rng = np.random.default_rng(0)
    for _ in range(30):
        scale, beta = rng.uniform(0.2, 1.5), rng.uniform(0.25, 8)
        ratios = np.exp(rng.uniform(0.05, 2, 6)) ** rng.choice([-1, 1], 6)  # none on the edge
        spectrum, latents = ratios * beta * scale**2, int(rng.integers(1, 8))
        worth = sum(_survives(v, scale, beta) for v in spectrum)
        came = alive(spectrum, scale, beta, latents)
        expect(
            came == min(latents, worth),
            f"variances {np.round(spectrum, 2).tolist()}, scale {scale:.2f}, beta {beta:.2f}, "
            f"{latents} latents: a search finds {min(latents, worth)} alive, you say {came}. "
            "Compare each variance with beta times the decoder's variance",
        )


def _runs() -> list[tuple[float, float, float, str]]:
    """Rate, loss and best loss of four told runs and of 20 random ones, with what they are."""
    told = [
        (1.386, 2.112, 2.112, "healthy"),
        (0.0, 8.226, 8.226, "optimal collapse"),
        (0.0, 8.226, 2.112, "stuck"),
        (0.64, 5.003, 2.112, "unfinished"),
    ]
    rng = np.random.default_rng(0)
    for _ in range(20):
        name, best = str(rng.choice(VERDICTS)), rng.uniform(-3, 9)
        rate = rng.uniform(0.1, 4) if name in ("healthy", "unfinished") else rng.uniform(0, 5e-4)
        gap = rng.uniform(0.1, 6) if name in ("stuck", "unfinished") else rng.uniform(0, 5e-3)
        told.append((rate, best + gap, best, name))
    return told


def _check_verdict(verdict: Callable[..., Any]) -> None:
    runs = _runs()
    said = [verdict(rate, loss, best) for rate, loss, best, _ in runs]
    if odd := sorted({str(word) for word in said} - set(VERDICTS)):
        expect(False, f"the four words are {', '.join(VERDICTS)}; you say {odd[0]!r}")
    second, third, fourth = said[1:4]
    expect(
        second != "stuck",
        "run 2 has rate 0 and the best loss there is: nothing is left to gain by leaving",
    )
    expect(
        second not in ("healthy", "unfinished"),
        "look at run 2 again: its loss is the best, but what does its z say about x?",
    )
    expect(
        third != "optimal collapse",
        "run 3 has rate 0, but losses far below its own exist: is it there by choice?",
    )
    expect(
        fourth != "healthy",
        "run 4 has information, and yet its loss is 2.9 nats above the best: is it done?",
    )
    for (rate, loss, best, name), word in zip(runs, said, strict=True):
        expect(
            word == name,
            f"rate {rate:.4f}, loss {loss:.3f}, best loss {best:.3f}: you say {word}. First ask "
            "whether the rate is 0 (below 0.001), then whether the loss is the best (within 0.01)",
        )


def _solutions() -> tuple[Callable[..., Any], ...]:
    """One right answer each, under the names that the notebook asks for."""

    def collapse_beta(variance: float, scale: float) -> float:
        """The beta at which the noise the decoder expects reaches the variance of the data."""
        return variance / scale**2

    def alive(eigenvalues: np.ndarray, scale: float, beta: float, latents: int) -> int:
        """Axes above the level beta scale^2, as far as there are latents for them."""
        return min(latents, int((eigenvalues > beta * scale**2).sum()))

    def verdict(rate: float, loss: float, best_loss: float) -> str:
        """Ask the rate whether z says anything, then the loss whether a better place exists."""
        optimal = loss - best_loss < 0.01
        if rate < 0.001:
            return "optimal collapse" if optimal else "stuck"
        return "healthy" if optimal else "unfinished"

    return collapse_beta, alive, verdict


collapse_beta, alive, verdict = (
    Exercise(title, check, (solution,))
    for title, check, solution in zip(
        ("Predict the cliff", "Alive latents", "Stuck or optimal?"),
        (_check_cliff, _check_alive, _check_verdict),
        _solutions(),
        strict=True,
    )
)
