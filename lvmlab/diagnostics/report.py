"""The collapse report: what a trained pair p and q does with its latents, and what to try next."""

import json
import math
import time
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from lvmlab.diagnostics import arrays, finite, measured
from lvmlab.diagnostics.estimators import Estimate, Estimates
from lvmlab.diagnostics.given import joints, labels_of, looking
from lvmlab.diagnostics.measured import Dimension
from lvmlab.diagnostics.verdicts import THRESHOLDS, Advice, Finding, Verdict, judge

UNJUDGED = Verdict("", "", "", ())


@dataclass(frozen=True)
class Report:
    """Numbers in nats, means over the rows, with a verdict; `table()`, `json()`, `picture()`.

    None stands for a number that this model does not have. `errors` holds standard errors by name.
    """

    rows: int
    distortion: float
    """-E log p(x|z)"""
    swap: float
    """what another row's code costs more"""
    rate: float | None = None
    """E KL(q(z|x) || p(z))"""
    negative_bound: float | None = None
    """distortion + rate, an upper bound on the NLL"""
    nll: float | None = None
    """-E log p(x) when `exact`, else its importance-weighted upper bound over `weighed` rows"""
    gap: float | None = None
    """KL(q(z|x) || p(z|x)), a lower bound on it unless `exact`; of the same rows as `nll`"""
    information: float | None = None
    """I_q(x; z), by the full set of rows, at most `ceiling`"""
    ceiling: float | None = None
    mismatch: float | None = None
    """KL(q(z) || p(z)); an upper bound on average, with `mismatch_low` below it"""
    mismatch_low: float | None = None
    gain: float | None = None
    """nats of bound that the best other width of the encoder gains; `wider` says which"""
    wider: bool | None = None
    active: int = 0
    """dimensions whose means have a variance above 0.01"""
    dimensions: tuple[Dimension, ...] = ()
    components: tuple[float, ...] = ()
    """mass of each component of a mixture prior, or category, under q"""
    estimates: tuple[Estimate, ...] = ()
    accuracy: float | None = None
    """5-NN accuracy of the labels in z, and `accuracy_of_data` in the data, unless tokens"""
    accuracy_of_data: float | None = None
    exact: bool = False
    samples: int = 0
    weighed: int = 0
    effective: float | None = None
    """effective number of importance samples"""
    errors: dict[str, float] = field(default_factory=dict)
    title: str = ""
    model: str = ""
    seconds: float = 0.0
    verdict: Verdict = UNJUDGED
    arrays: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    @property
    def at_ceiling(self) -> bool:
        """Whether `information` only says "at least"."""
        near = self.ceiling is not None and self.information is not None
        return near and self.information >= THRESHOLDS["ceiling"] * self.ceiling  # type: ignore[operator]

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, words, lists and None, as in the JSON; without the arrays."""
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "arrays"}
        found["verdict"] = self.verdict._asdict()
        for name in ("advice", "also"):
            found["verdict"][name] = [one._asdict() for one in found["verdict"][name]]
        for name in ("dimensions", "estimates"):
            found[name] = [one._asdict() for one in found[name]]
        found["at_ceiling"], found["thresholds"] = self.at_ceiling, dict(THRESHOLDS)
        return _plain(found)

    def json(self) -> str:
        """The report as JSON, without NaN; `from_json` reads it back."""
        return json.dumps(self.as_dict(), indent=2, allow_nan=False)

    def table(self) -> str:
        """The report as text, a number a line with its error and what bounds it."""
        from lvmlab.diagnostics.report_text import table

        return table(self)

    def picture(self) -> Any:
        """The report as a picture, `lvmlab.plots.report.report_picture`."""
        from lvmlab.plots.report import report_picture

        return report_picture(self.as_dict(), self.arrays)

    def __str__(self) -> str:
        return self.table()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        data, extra = self.picture()._repr_mimebundle_(include, exclude)
        return data | {"text/plain": self.table()}, extra


def report(
    p: Any,
    q: Any,
    data: Any,
    labels: Any = None,
    prior: Any = None,
    samples: int = 100,
    weighed: int = 1000,
    title: str = "",
    seed: int = 0,
) -> Report:
    """Examine a trained pair on data, held out if you can, and say what state its latents are in.

    p, q: joints, or a decoder and an encoder that return torch distributions; then `prior` is the
    distribution of z (standard normal when None). For models that return means and log-variances
    or logits see `lvmlab.adapters.from_moments`. data: a batch by name, a data set, or one array
    (N, ...); rows of bytes or yes or no become floats, other whole numbers are tokens. labels (N,):
    integers, for the accuracy of neighbours. The likelihood is bounded by `samples` importance
    samples on the first `weighed` rows; latents with finitely many values (at most 2048 together)
    are summed exactly. Layers such as dropout are in evaluation mode, the reader's random state is
    left alone, and the same `seed` gives the same report. Memory does not grow with the rows but
    for the data themselves and, where latents are summed, one number for each row and value.
    Raises `ValueError` for models that return tensors or cannot take tokens, NaN, and lengths that
    differ.
    """
    started = time.perf_counter()
    samples = arrays.whole_number("samples", samples, 1)
    weighed = arrays.whole_number("weighed", weighed, 1)
    p, q, batch = joints(p, q, data, prior)
    labels = labels_of(labels, batch)
    with looking(p, q, seed):
        if finite.combinations(p, q, batch):
            numbers, pictures = measured.summed(p, q, batch, labels)
        else:
            numbers, pictures = measured.drawn(p, q, batch, labels, samples, weighed)
    _check_finite(numbers)
    seconds = time.perf_counter() - started
    words: dict[str, Any] = {"title": title, "model": f"{p}, {q}", "seconds": seconds}
    made = Report(**numbers, **words, arrays=pictures)
    return Report(**(_shallow(made) | {"verdict": judge(made)}))


def from_json(text: str) -> Report:
    """The report that `Report.json` wrote, without its arrays; `ValueError` for other text."""
    try:
        found = json.loads(text)
        known = {f.name for f in fields(Report)} - {"arrays"}
        values = {name: found[name] for name in known}
        verdict = values["verdict"]
        values["verdict"] = Verdict(
            verdict["state"],
            verdict["headline"],
            verdict["evidence"],
            tuple(Advice(**one) for one in verdict["advice"]),
            tuple(Finding(**one) for one in verdict["also"]),
            tuple(verdict["open"]),
        )
        values["dimensions"] = tuple(Dimension(**one) for one in values["dimensions"])
        values["estimates"] = Estimates([_estimate(one) for one in values["estimates"]])
        values["components"] = tuple(values["components"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"text must be the JSON of a report, but cannot be read ({error!r}). Write it with "
            "report(...).json()."
        ) from error
    return Report(**values)


def _estimate(row: dict[str, Any]) -> Estimate:
    return Estimate(**(row | {"ceiling": math.inf if row["ceiling"] is None else row["ceiling"]}))


def _shallow(made: Report) -> dict[str, Any]:
    return {f.name: getattr(made, f.name) for f in fields(made)}


def _check_finite(numbers: dict[str, Any]) -> None:
    bad = [name for name in ("distortion", "rate", "swap") if _broken(numbers.get(name))]
    if bad:
        raise ValueError(
            f"{', '.join(bad)} came out as NaN or infinite: the model's parameters are not finite, "
            "or a distribution excludes its own data. Look at the loss, and give scales a floor."
        )


def _broken(value: float | None) -> bool:
    return value is not None and not math.isfinite(value)


def _plain(value: Any) -> Any:
    """Lists, dicts, strings, numbers and None; None for NaN and infinities."""
    if isinstance(value, dict):
        return {str(key): _plain(inside) for key, inside in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inside) for inside in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
