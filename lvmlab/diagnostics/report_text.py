"""A report as text: each number with its error, and the bound or ceiling that belongs to it."""

import textwrap
from typing import Any

from lvmlab.diagnostics.verdicts import THRESHOLDS


def table(report: Any) -> str:
    """The lines of a report, the verdict first."""
    verdict = report.verdict
    lines = [report.title] if report.title else []
    lines += [verdict.headline.upper(), *_wrapped(verdict.evidence)]
    lines += [f"  also: {one.headline.lower()} ({one.evidence})" for one in verdict.also]
    lines += [f"  open: {doubt}" for doubt in verdict.open]
    lines += ["", f"{report.model}; {report.rows} rows; nats, ± standard error"]
    lines += [line for row in _numbers(report) if (line := _line(report, *row))]
    lines += _information(report) + _dimensions(report) + _components(report)
    lines += ["", "what to try"]
    lines += [f"  {one.text}: notebook {one.notebook}" for one in verdict.advice]
    limits = ", ".join(f"{name} {limit:g}" for name, limit in THRESHOLDS.items())
    return "\n".join([*lines, "", *_wrapped(f"conventions: {limits}")])


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 92, initial_indent="  ", subsequent_indent="  ")


def _numbers(report: Any) -> list[tuple[str, str]]:
    effective = "" if report.effective is None else f", {report.effective:.0f} effective"
    how = f"upper bound, {report.samples} samples{effective}, {report.weighed} rows"
    nll = "exact" if report.exact else how
    return [
        ("distortion", "-log p(x|z)"),
        ("rate", "KL(q(z|x) || p(z)); rate = information + mismatch"),
        ("negative_bound", "distortion + rate, an upper bound on the NLL"),
        ("nll", nll),
        ("gap", "KL(q(z|x) || p(z|x))" + (", exact" if report.exact else ", at least")),
        ("information", _cap(report)),
        ("mismatch", f"KL(q(z) || p(z)){_low(report)}"),
        ("swap", "lost with another row's code"),
        ("gain", _gain(report)),
    ]


def _cap(report: Any) -> str:
    if report.ceiling is None:
        return "of x in z, exact for these rows"
    return f"of x in z, ceiling {report.ceiling:.2f}" + (", AT LEAST" if report.at_ceiling else "")


def _low(report: Any) -> str:
    if report.exact or report.mismatch_low is None:
        return ""
    return f", at most; at least {report.mismatch_low:.2f}"


def _gain(report: Any) -> str:
    if report.exact:
        return "of bound, by the model's own posterior as encoder"
    if report.wider is None:
        return "of bound: no other width of the encoder is better"
    return f"of bound, by a {'wider' if report.wider else 'narrower'} encoder"


def _line(report: Any, name: str, words: str) -> str:
    value = getattr(report, name)
    if value is None:
        return ""
    value = round(value, 3) + 0.0  # no minus before a zero
    error = report.errors.get(name)
    told = "" if error is None else f"± {error:.3f}"
    return f"  {name.replace('_', ' '):15}{value:10.3f} {told:10} {words}"


def _information(report: Any) -> list[str]:
    lines = ["", "information by"] if report.estimates else []
    for row in report.estimates:
        end = f"ceiling {row.ceiling:.2f} = {row.ceiling_name}" if row.ceiling_name else ""
        said = ", at least" if row.at_ceiling and not report.exact else ""
        lines.append(f"  {row.estimator:22}{row.information:6.2f}   {end}{said}")
    if report.accuracy is not None:
        raw = report.accuracy_of_data  # None for tokens
        beside = "" if raw is None else f", {100 * raw:.1f} % in the data"
        lines.append(f"  labels by 5 neighbours: {100 * report.accuracy:.1f} % in z{beside}")
    return lines


def _dimensions(report: Any) -> list[str]:
    if not report.dimensions:
        return []
    lines = ["", f"{report.active} of {len(report.dimensions)} units active (variance of means)"]
    lines.append("  dimension      rate   variance of mean   mean scale")
    for row in report.dimensions[:16]:
        rate = "   -   " if row.rate is None else f"{row.rate:7.3f}"
        off = "   off" if row.off else ""
        lines.append(f"  {row.name:12}{rate} {row.variance:18.4f} {row.scale:12.3f}{off}")
    if len(report.dimensions) > 16:
        lines.append(f"  and {len(report.dimensions) - 16} more, of smaller rate")
    return lines


def _components(report: Any) -> list[str]:
    if not report.components:
        return []
    masses = sorted(report.components, reverse=True)
    shown = " ".join(f"{mass:.3f}" for mass in masses[:12])
    more = " ..." if len(masses) > 12 else ""
    return ["", f"mass of {len(masses)} components, largest first: {shown}{more}"]
