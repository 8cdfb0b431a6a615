"""From the numbers of a report to words: a state, the evidence for it, and what to try.

The thresholds are conventions, printed with every verdict. A number that lies within two standard
errors of its threshold decides nothing: then the verdict is "cannot tell".
"""

from collections.abc import Callable
from typing import Any, NamedTuple

THRESHOLDS = {
    "rate": 0.05,  # nats below which z says nothing; the same for a single dimension
    "gap": 1.0,  # nats of gap from which a silent encoder fails a decoder that needs it
    "swap": 0.05,  # nats lost with another row's code, below which a decoder ignores z
    "mismatch": 0.2,  # share of the rate that is KL(q(z) || p(z)), above which the prior is off
    "gain": 0.1,  # share of the rate that another width of the encoder would gain in bound
    "component": 0.2,  # share of an even component, 1/K, below which one is dead
    "ceiling": 0.95,  # share of its ceiling from which an estimate says "at least"
    "rows": 30,  # fewer rows than these decide nothing
}
STATES = {
    "asleep": "The encoder sleeps, the decoder needs z",
    "ignored": "Encoder and decoder both ignore z",
    "deaf": "The decoder ignores what z says",
    "prior off": "The codes have left the prior",
    "too sharp": "The encoder is sharper than needed",
    "over-regularised": "The encoder is blurred too much",
    "some off": "Some of the latent dimensions are off",
    "dead components": "Some of the components are dead",
    "at its cap": "The information is above the ruler's end",
    "healthy": "The latent space is in use",
    "cannot tell": "This report cannot tell",
}


class Advice(NamedTuple):
    """One thing to try, and the notebook that explains it."""

    text: str
    notebook: str


class Finding(NamedTuple):
    """A state of the model, in words, with the numbers that say so."""

    state: str
    headline: str
    evidence: str


class Verdict(NamedTuple):
    """The first state of the table that holds, what else holds, and what stays open."""

    state: str
    headline: str
    evidence: str
    advice: tuple[Advice, ...]
    also: tuple[Finding, ...] = ()
    open: tuple[str, ...] = ()


ADVICE = {
    "asleep": (
        Advice("train the encoder more often than the decoder, or anneal beta", "04"),
        Advice("let a critic ask the encoder to tell rows apart", "06"),
    ),
    "ignored": (
        Advice("a smaller decoder scale, or beta below 1", "04_posterior_collapse"),
        Advice("an objective that rewards information: MIM or A-MIM", "03"),
        Advice("a critic beside the bound", "06"),
    ),
    "deaf": (
        Advice("a weaker decoder, or words dropped from its own input", "10"),
        Advice("a critic beside the bound", "06"),
    ),
    "prior off": (
        Advice("a prior that follows the codes: a mixture or a VampPrior", "05"),
        Advice("more weight for the encoder's entropy (VAE in place of A-MIM)", "04"),
        Advice("a penalty on KL(q(z) || p(z)) alone: transport", "09"),
    ),
    "too sharp": (
        Advice("put the encoder's entropy back, or raise the floor of its scale", "04"),
        Advice("train on; compare the gap", "02"),
    ),
    "over-regularised": (
        Advice("beta nearer to 1, or an annealed beta", "04"),
        Advice("if beta is 1: a larger encoder, or more of its steps", "02"),
    ),
    "some off": (
        Advice("fewer dimensions first: those that are off change nothing", "04"),
        Advice("then MIM or a critic, if all should be used", "06"),
    ),
    "dead components": (
        Advice("transport in place of the ELBO", "09"),
        Advice("an assignment that gives every component its share", "07"),
    ),
    "at its cap": (
        Advice("more rows: the ceiling is the logarithm of their number", "04"),
        Advice("a critic's bound, with its own ceiling in sight", "06"),
    ),
    "healthy": (
        Advice("compare objectives on these data: lvmlab.compare", "14"),
        Advice("other seeds: are these the same latents?", "11"),
    ),
    "cannot tell": (Advice("more rows, or an encoder with a density", "04"),),
}
NOTEBOOKS = {
    "02": "02_likelihood_as_a_joint_kl",
    "03": "03_mutual_information_machine",
    "04": "04_posterior_collapse",
    "05": "05_images_and_priors",
    "06": "06_inference_critics",
    "07": "07_complete_likelihood",
    "09": "09_mixtures_and_transport",
    "10": "10_sentences",
    "11": "11_identifiability",
    "14": "14_ledger",
}


def judge(report: Any, thresholds: dict[str, float] | None = None) -> Verdict:
    """The verdict on a report, or on anything that has its numbers as attributes.

    thresholds: other conventions, by the names in `THRESHOLDS`. Raises `ValueError` for names that
    are not there.
    """
    limits = THRESHOLDS | (thresholds or {})
    if unknown := limits.keys() - THRESHOLDS.keys():
        raise ValueError(
            f"thresholds must be among {', '.join(THRESHOLDS)}, but {sorted(unknown)} came"
        )
    if report.rows < limits["rows"]:
        told = f"{report.rows} rows; at least {limits['rows']:.0f} are needed for a standard error"
        return _verdict("cannot tell", told, (), (told,))
    if report.rate is None:
        told = "the encoder has no density, so neither rate nor bound is defined"
        return _verdict("cannot tell", told, (), (told,))
    found: list[Finding] = []
    doubts: list[str] = []
    for question in QUESTIONS:
        finding, doubt = question(report, limits)
        if finding is not None:
            found.append(finding)
        if doubt and question in DECISIVE and not found:
            return _verdict("cannot tell", doubt, (), (doubt,))
        if doubt:
            doubts.append(doubt)
        if finding is not None and finding.state in ("asleep", "ignored"):
            break  # nothing further can be asked of a z that says nothing
    if not found and doubts:
        headline = "z is in use; whether the prior fits is open"
        return _verdict("cannot tell", doubts[0], (), tuple(doubts), headline)
    if not found:
        found.append(_healthy(report))
    first = found[0]
    return _verdict(first.state, first.evidence, tuple(found[1:]), tuple(doubts), first.headline)


Answer = tuple[Finding | None, str]
"""What holds, and what cannot be told; neither is the usual case."""


def _silent(report: Any, limits: dict[str, float]) -> Answer:
    low = _below(report, "rate", limits["rate"])
    if low is None:
        return None, _close("rate", report, limits["rate"])
    if not low:
        return None, ""
    awake = _below(report, "gap", limits["gap"])
    if awake is None:
        return None, _close("gap", report, limits["gap"])
    told = f"rate {report.rate:.2g} nats, gap {report.gap:.2g}"
    if not awake:
        needs = f"{told}: the decoder's own posterior is elsewhere"
        return Finding("asleep", STATES["asleep"], needs), ""
    if report.active:
        told += f"; {_units(report.active)} active by the variance of the means, and still no nats"
    return Finding("ignored", STATES["ignored"], told), ""


def _deaf(report: Any, limits: dict[str, float]) -> Answer:
    low = _below(report, "swap", limits["swap"])
    if low is None:
        return None, _close("swap", report, limits["swap"])
    told = (
        f"rate {report.rate:.2f} nats, but another row's code serves as well: it costs "
        f"{report.swap:+.2f} nats"
    )
    return (Finding("deaf", STATES["deaf"], told), "") if low else (None, "")


def _prior_off(report: Any, limits: dict[str, float]) -> Answer:
    limit = limits["mismatch"] * report.rate
    error = 2 * report.errors.get("mismatch", 0.0)
    part = f"{report.mismatch:.2f}"
    if report.mismatch - report.mismatch_low > 0.1 * report.rate:  # near the end of the ruler
        part = f"between {report.mismatch_low:.2f} and {part}"
    told = f"{part} of {report.rate:.2f} nats of rate are KL(q(z) || p(z))"
    if report.mismatch_low - error > limit:
        return Finding("prior off", STATES["prior off"], told), ""
    if report.mismatch + error <= limit:
        return None, ""
    span = f"between {report.mismatch_low:.2f} and {report.mismatch:.2f} nats"
    return None, f"KL(q(z) || p(z)) is {span}, the limit is {limit:.2f}: more rows"


def _width(report: Any, limits: dict[str, float]) -> Answer:
    if report.gain is None:
        return None, ""
    limit = max(limits["rate"], limits["gain"] * report.rate)
    if report.gain - 2 * report.errors.get("gain", 0.0) <= limit:
        return None, ""
    state, word = ("too sharp", "wider") if report.wider else ("over-regularised", "narrower")
    told = f"a {word} encoder would gain {report.gain:.2f} nats of bound, the rate is "
    return Finding(state, STATES[state], told + f"{report.rate:.2f}"), ""


def _some_off(report: Any, limits: dict[str, float]) -> Answer:
    off = [d.name for d in report.dimensions if d.off]
    total = len(report.dimensions)
    if not off or len(off) == total:
        return None, ""
    part = "Half" if 2 * len(off) == total else f"{len(off)} of {total}"
    of = "of the latent dimensions" if part == "Half" else "latent dimensions"
    word = f"{part} {of} {'is' if len(off) == 1 and total > 2 else 'are'} off"
    named = ", ".join(off[:8]) + (" ..." if len(off) > 8 else "")
    told = f"{named}: less than {limits['rate']} nats each; the rate of all is {report.rate:.2f}"
    return Finding("some off", word, told), ""


def _dead(report: Any, limits: dict[str, float]) -> Answer:
    if not report.components:
        return None, ""
    count = len(report.components)
    if report.rows < 20 * count:
        return None, ""
    dead = sum(mass < limits["component"] / count for mass in report.components)
    if not dead:
        return None, ""
    told = f"{dead} hold less than {limits['component'] / count:.3f} of the mass each"
    return Finding("dead components", f"{dead} of {count} components are dead", told), ""


def _at_cap(report: Any, limits: dict[str, float]) -> Answer:
    cap = report.ceiling
    near = cap is not None and report.information >= limits["ceiling"] * cap
    if not near or report.rate < 1.05 * report.information:
        return None, ""  # the rate is an upper bound: close to it the reading is a value
    told = (
        f"at least {report.information:.2f} nats of at most {cap:.2f}; the rate allows "
        f"{report.rate:.2f}"
    )
    headline = f"z holds at least {report.information:.1f} nats"
    return Finding("at its cap", headline, told), ""


QUESTIONS: tuple[Callable[[Any, dict[str, float]], Answer], ...] = (
    *(_silent, _deaf, _dead, _prior_off, _width, _some_off, _at_cap),
)
DECISIVE = (_silent, _deaf)  # while these are open, nothing later counts


def _healthy(report: Any) -> Finding:
    told = f"{report.information:.2f} nats about x in z"
    if report.mismatch is not None:
        told += f", {report.mismatch:.2f} nats from q(z) to the prior"
    told += f"; another row's code costs {report.swap:.1f} nats"
    return Finding("healthy", STATES["healthy"], told)


def _verdict(
    state: str,
    evidence: str,
    also: tuple[Finding, ...],
    doubts: tuple[str, ...],
    headline: str = "",
) -> Verdict:
    advice = tuple(Advice(a.text, NOTEBOOKS.get(a.notebook, a.notebook)) for a in ADVICE[state])
    return Verdict(state, headline or STATES[state], evidence, advice, also, doubts)


def _below(report: Any, name: str, limit: float) -> bool | None:
    """Whether a number is below a limit; None within two standard errors of it."""
    value, error = getattr(report, name), 2 * report.errors.get(name, 0.0)
    return True if value + error < limit else False if value - error >= limit else None


def _close(name: str, report: Any, limit: float) -> str:
    value, error = getattr(report, name), report.errors.get(name, 0.0)
    return f"{name} {value:.3g} ± {error:.2g} nats lies too close to the limit {limit:g}: more rows"


def _units(count: int) -> str:
    return f"{count} unit counts as" if count == 1 else f"{count} units count as"
