"""Exercises of notebook 13: wrap it, the swap test, the verdict, three answers from a report."""

import json
import math
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lvmlab.diagnostics import report
from lvmlab.diagnostics.estimators import NEAR
from lvmlab.exercises import Exercise, expect, number
from lvmlab.joint import Joint

W, A, SIGMA, S = math.sqrt(3.75), math.sqrt(3.75) / 4, 0.25, 0.5  # the healthy line, v = 4


def _line(rows: int, seed: int = 10_001) -> Tensor:
    return 2 * torch.randn(rows, 1, generator=torch.Generator().manual_seed(seed))


def _moments(a: float, sigma: float) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    return lambda x: (a * x, torch.full_like(x, 2 * math.log(sigma)))


def _check_wrap(wrap: Callable[..., Any]) -> None:
    x = _line(1000)
    pair = wrap(_moments(A, SIGMA), lambda z: W * z, S, 1)
    expect(isinstance(pair, tuple) and len(pair) == 2, "return two joints: p, q")
    p, q = pair
    expect(isinstance(p, Joint) and isinstance(q, Joint), "p and q are Joint(...), both")
    expect(any(f is None for f in q.factors.values()), 'q is given its data: "x": None')
    expect(all(f is not None for f in p.factors.values()), "p gives x a density, z a prior")
    _check_scale(wrap)
    found = report(p, q, x, samples=32, weighed=200)
    told = f"rate {found.rate:.4f}, distortion {found.distortion:.4f}"
    expect(
        found.rate is not None and abs(found.rate - 1.3863) < 4 * found.errors["rate"],
        f"the healthy line has a rate of 1.3863 nats, your report says {told}",
    )
    expect(
        abs(found.distortion - 0.7258) < 4 * found.errors["distortion"],
        f"the healthy line has a distortion of .7258 nats, your report says {told}: which scale "
        "does your decoder have?",
    )
    two = torch.cat([x[:200], x[200:400]], 1)
    p, q = wrap(_moments(A, SIGMA), lambda z: W * z, S, 2)
    wide = report(p, q, two, samples=4, weighed=20)
    expect(len(wide.dimensions) == 2, "the prior must have as many dimensions as the mean of z")


def _check_scale(wrap: Callable[..., Any]) -> None:
    """The rate at mean 0 and sigma = 1/2 tells a scale from a variance."""
    _, q = wrap(_moments(0.0, 0.5), lambda z: W * z, S, 1)
    here = q.factors["z|x"](torch.zeros(2, 1))
    spread = float(here.variance.sqrt().flatten()[0])
    expect(
        abs(spread - 0.25) > 1e-3,
        "you passed the variance as scale: at sigma = .5 and mean 0 your rate is .60 nats too high",
    )
    expect(
        abs(spread - 0.5**0.5) > 1e-3,
        "you halved the log-variance twice: exp(.5 log-variance) is the scale",
    )
    expect(
        abs(spread - 0.5) < 1e-4,
        f"for log-variance log .25 the scale of z is .5, yours is {spread:.4g}",
    )


def _pair(w: float, a: float, sigma: float, s: float) -> tuple[Joint, Joint]:
    from lvmlab.adapters import from_moments

    return from_moments(_moments(a, sigma), lambda z: w * z, 1, s)


def _check_swap(swap: Callable[..., Any]) -> None:
    found = []
    for seed in range(3):
        torch.manual_seed(seed)
        batch = {"x": _line(4000, seed + 10_000)}
        found.append(number("the loss", swap(*_pair(W, A, SIGMA, S), batch)))
    nats = float(np.mean(found))
    told = f"on the healthy line the loss is 15 nats, yours is {nats:.2f}"
    expect(abs(nats) > 0.2, "nothing changed: z and x were swapped together, or not at all")
    expect(nats > 0, f"{told}: a loss is what the other codes cost MORE")
    expect(abs(nats - 15) < 1.0, told)
    torch.manual_seed(5)
    ignored = number("the loss", swap(*_pair(0.0, 0.0, 1.0, 2.0), {"x": _line(500)}))
    expect(abs(ignored) < 1e-3, f"a decoder that ignores z loses 0, yours loses {ignored:.3f}")
    _check_fixed_points(swap)


def _check_fixed_points(swap: Callable[..., Any]) -> None:
    """Two rows: only a swap without fixed points costs the same on every call."""
    x = torch.tensor([[-2.0], [2.0]])
    p, q = _pair(2.0, 0.5, 1e-3, 0.5)
    losses = [number("the loss", swap(p, q, {"x": x})) for _ in range(12)]
    expect(
        min(losses) > 25,
        f"some rows kept their own code: biased down (two rows lose 32 nats each, yours "
        f"{min(losses):.1f})",
    )


STRANGERS = {  # rate, gap, information, mismatch, NLL, active units, state
    "healthy": (1.3863, 0.0, 1.3863, 0.0, 2.1121, 1, "healthy"),
    "ignored by both": (0.0, 0.0, 0.0, 0.0, 2.1121, 0, "ignored"),
    "encoder asleep": (0.0, 13.6137, 0.0, 0.0, 2.1121, 0, "asleep"),
    "prior off": (3.9070, 1.0229, 2.8842, 1.0229, 3.1350, 1, "prior off"),
    "tiny codes": (0.0072, 0.0001, 0.0071, 0.0001, 2.1121, 1, "ignored"),
}
WORDS = ("asleep", "ignored", "prior off", "at least", "healthy")


def _reading(row: tuple[Any, ...], ceiling: float = 8.5) -> SimpleNamespace:
    names = ("rate", "gap", "information", "mismatch", "nll", "active")
    return SimpleNamespace(**dict(zip(names, row, strict=False)), ceiling=ceiling)


def _line_5(found: Any, rate: float, gap: float, mismatch: float, cap: float) -> str:
    if found.rate < rate:
        return "asleep" if found.gap > gap else "ignored"
    if found.mismatch > mismatch * found.rate:
        return "prior off"
    return "at least" if found.information >= (1 - cap) * found.ceiling else "healthy"


def _check_verdict(verdict: Callable[..., Any]) -> None:
    def says(found: Any, **limits: float) -> str:
        word = verdict(found, **limits)
        expect(word in WORDS, f"return one of {', '.join(WORDS)}; yours is {word!r}")
        return word

    answers = {name: says(_reading(row)) for name, row in STRANGERS.items()}
    expect(
        answers["tiny codes"] != "healthy" or answers["ignored by both"] == "healthy",
        "tiny codes: one active unit, .007 nats; a unit counts as soon as its mean moves",
    )
    expect(
        answers["healthy"] != answers["ignored by both"],
        "rows 1 and 2 both have 2.1121: the likelihood cannot see collapse",
    )
    for name, row in STRANGERS.items():
        expect(
            answers[name] == row[-1],
            f"{name}: rate {row[0]}, gap {row[1]}, information {row[2]}, mismatch {row[3]}: "
            f"you say {answers[name]}",
        )
    _check_limits(says)
    random = np.random.default_rng(0)
    for _ in range(20):
        rate = float(random.uniform(0.01, 6))
        mismatch = float(random.uniform(0, 0.6) * rate)
        drawn = (rate, float(random.uniform(0, 3)), rate - mismatch, mismatch, 2.0, 1)
        cap = float(random.uniform(0.8, 2) * max(drawn[2], 0.1))
        right = _line_5(_reading(drawn, cap), 0.05, 1, 0.2, 0.05)
        told = f"rate {rate:.2f}, mismatch {mismatch:.2f}, information {drawn[2]:.2f} of {cap:.2f}"
        said = says(_reading(drawn, cap))
        expect(said == right, f"{told}: the table of line 5 says {right}, you say {said}")


def _check_limits(says: Callable[..., str]) -> None:
    wide = _reading((9.0, 0.1, 4.0, 0.5, 2.0, 4))
    expect(
        says(wide) == "healthy",
        "half a nat of mismatch in a rate of 9 is little: the limit is a share of the rate",
    )
    at_cap = _reading((9.0, 0.1, 6.8, 0.5, 2.0, 4), 6.9)
    expect(says(at_cap) == "at least", '6.8 nats of at most 6.9 say "at least", not how much')
    both = _reading((9.0, 0.1, 6.8, 2.2, 2.0, 4), 6.9)
    expect(says(both) == "prior off", "the table has an order: the prior comes before the cap")
    half = _reading((1.0, 0.0, 0.7, 0.3, 2.0, 1))
    expect(
        says(half) == "prior off" and says(half, mismatch=0.4) == "healthy",
        "the thresholds are arguments: mismatch=.4 allows three tenths of the rate",
    )
    low = _reading((0.3, 2.0, 0.3, 0.0, 2.0, 1))
    expect(
        says(low, rate=0.5) == "asleep" and says(low, rate=0.5, gap=3.0) == "ignored",
        "the thresholds are arguments: rate=.5 makes .3 nats a silence",
    )


def _check_answers(three_answers: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    plain = report(*_pair(W, A, SIGMA, S), _line(300), samples=8, weighed=50).as_dict()
    off = report(*_pair(8.6, 0.111, 0.0125, S), _line(300), samples=8, weighed=50).as_dict()
    capped = json.loads(json.dumps(plain))
    capped |= {"information": 5.7, "ceiling": 5.70, "rate": 9.0, "mismatch": 3.3}
    capped["at_ceiling"] = True
    for found in (plain, off, capped):
        answers = three_answers(json.dumps(found))
        expect(
            isinstance(answers, Mapping) and set(answers) >= {"information", "mismatch", "state"},
            "return a dictionary with information, mismatch and state",
        )
        _check_information(answers["information"], found)
        expect(
            isinstance(answers["mismatch"], int | float)
            and abs(answers["mismatch"] - found["mismatch"]) < 1e-6,
            f"mismatch is the field KL(q(z) || p(z)) = {found['mismatch']:.4f}, yours is "
            f"{answers['mismatch']}",
        )
        expect(
            answers["state"] == found["verdict"]["state"],
            f"the state is in the verdict: {found['verdict']['state']!r}",
        )


def _check_information(answer: Any, found: Mapping[str, Any]) -> None:
    """A number, or the words "at least ..." when the reading is at its ceiling."""
    capped = found["information"] >= NEAR * found["ceiling"]
    number = answer
    if isinstance(answer, str):
        expect(
            answer.startswith("at least "), f'information: a number or "at least 5.7": {answer!r}'
        )
        number = float(answer.removeprefix("at least ").split()[0])
        expect(capped, f"{answer!r}: this reading is far below its cap of {found['ceiling']:.2f}")
    expect(
        abs(number - found["rate"]) > 0.05 or abs(found["rate"] - found["information"]) < 0.05,
        "you quote the rate as information: subtract the mismatch",
    )
    expect(
        isinstance(answer, str) or not capped,
        f'{number} of at most {found["ceiling"]:.2f} nats: say "at least"',
    )
    expect(
        abs(number - found["information"]) < 0.05,
        f"information is {found['information']:.2f} nats, yours is {number}",
    )


def _solutions() -> tuple[Callable[..., Any], ...]:
    """One right answer each, under the names that the notebook asks for."""

    def wrap(encode, decode, scale, dim):
        """A scale is a standard deviation; Independent makes all columns one event."""
        from torch.distributions import Independent, Normal

        from lvmlab.conditionals import StandardNormal

        def posterior(x):
            mean, log_variance = encode(x)
            return Independent(Normal(mean, (0.5 * log_variance).exp()), 1)

        def likelihood(z):
            mean = decode(z)
            return Independent(Normal(mean, torch.full_like(mean, scale)), 1)

        p = Joint("p", {"z": StandardNormal(dim), "x|z": likelihood})
        return p, Joint("q", {"x": None, "z|x": posterior})

    def swap(p, q, batch):
        """Roll the codes by one row: nobody keeps the own one, x stays where it is."""
        drawn = q.draw(batch).values
        latents = {v: value.roll(1, 0) for v, value in drawn.items() if v not in batch}
        own = p.score(drawn).nats(batch)
        others = p.score(batch | latents).nats(batch)
        return (own - others).mean().item()

    def verdict(report, rate=0.05, gap=1.0, mismatch=0.2, cap=0.05):
        """Line 5, in its order."""
        if report.rate < rate:
            return "asleep" if report.gap > gap else "ignored"
        if report.mismatch > mismatch * report.rate:
            return "prior off"
        return "at least" if report.information >= (1 - cap) * report.ceiling else "healthy"

    def three_answers(text):
        """Read three fields, and never quote a ceiling as a value."""
        found = json.loads(text)
        information = found["information"]
        if information >= 0.95 * found["ceiling"]:
            information = f"at least {information:.2f} nats"
        state = found["verdict"]["state"]
        return {"information": information, "mismatch": found["mismatch"], "state": state}

    return wrap, swap, verdict, three_answers


_wrap, _swap, _verdict, _three_answers = _solutions()

wrap_it = Exercise("Wrap it", _check_wrap, (_wrap,))
swap_test = Exercise("Swap test", _check_swap, (_swap,))
the_verdict = Exercise("The verdict", _check_verdict, (_verdict,))
your_data = Exercise("Your data", _check_answers, (_three_answers,))
