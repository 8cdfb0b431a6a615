"""The collapse report as a picture: the verdict first, then four numbers, then why.

To be noticed: the sentence at the top, and which dimensions lie on the prior's line.
"""

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from lvmlab.plots import report_panels as panels
from lvmlab.plots import style
from lvmlab.plots.frames import number, place

LEFT, RIGHT = panels.LEFT, panels.RIGHT


@style.styled
def report_picture(report: Mapping[str, Any], arrays: Mapping[str, ArrayLike]) -> style.Picture:
    """Draw a report: `report` is `Report.as_dict()`, `arrays` its arrays by name (may be empty).

    Dimensions stand in one order everywhere, the largest rate first. What a model does not have
    (no dimensions, no images) is left out. Raises `ValueError` for a mapping that is no report.
    """
    if missing := {"verdict", "rows", "distortion", "swap", "estimates"} - set(report):
        raise ValueError(
            f"report: expected the dictionary of a report, but it lacks {sorted(missing)}; "
            "pass report.as_dict()"
        )
    known = {name: np.asarray(values, dtype=float) for name, values in arrays.items()}
    low = 0.1 if "data" not in known else 2.0 if panels.shown_images(known) else 2.7
    top = 8.2 + low
    picture = style.figure(9.0, top)
    _words(picture, report, top)
    _numbers(picture, report, top - 2.0)
    if report["dimensions"] and "scales" in known:
        panels.rates(place(picture, LEFT, top - 4.75, 3.6, 1.5), report, known)
        panels.scales(place(picture, 5.05, top - 4.75, 3.75, 1.5, "floor"), report, known)
    else:
        panels.masses(place(picture, LEFT, top - 4.75, RIGHT - LEFT, 1.5), report)
    panels.information(place(picture, LEFT, top - 7.55, 3.6, 1.75), report)
    panels.aggregate(picture, report, known, top - 7.55)
    if low > 1:
        panels.survivors(picture, known)
    verdict = report["verdict"]
    picture.alt = f"{report['title']}: {verdict['headline']}. {verdict['evidence']}.".lstrip(": ")
    return picture


def _words(picture: style.Picture, report: Mapping[str, Any], top: float) -> None:
    """The sentence of six words, and below it what to try."""
    verdict, title = report["verdict"], report["title"]
    picture.text(
        LEFT / 9, 1 - 0.33 / top, "Collapse report", fontsize=12, fontweight="bold",
        color=style.NOTE,
    )  # fmt: skip
    where = "; ".join(part for part in (title, f"{report['rows']:,} rows") if part)
    picture.text(
        RIGHT / 9, 1 - 0.33 / top, where, fontsize=10.5, ha="right", color=style.NOTE
    )  # fmt: skip
    colour = style.look(title).colour if title else style.NOTE
    height = 0.72
    bar = Rectangle(
        (LEFT / 9, 1 - (0.48 + height) / top), 0.05 / 9, height / top, facecolor=colour, lw=0,
        transform=picture.transFigure,
    )  # fmt: skip
    picture.add_artist(bar)
    left = (LEFT + 0.17) / 9
    picture.text(
        left, 1 - 0.76 / top, verdict["headline"], fontsize=19, fontweight="bold"
    )  # fmt: skip
    advice = "; ".join(one["text"] for one in verdict["advice"][:2])
    told = textwrap.wrap(f"{_sentence(verdict['evidence'])} Try: {advice}.", 112)[:2]
    for line, text in enumerate(told):
        picture.text(left, 1 - (1.0 + 0.18 * line) / top, text, fontsize=10)


def _sentence(words: str) -> str:
    """The words as a sentence; names of variables (z_1) keep their case."""
    first = words.split(" ")[0]
    return (words if "_" in first or len(first) == 1 else words[:1].upper() + words[1:]) + "."


def _numbers(picture: style.Picture, report: Mapping[str, Any], low: float) -> None:
    """Four large numbers, each with its ceiling or rule."""
    alive, rule = _alive(report)
    least = "≥ " if report["at_ceiling"] and not report["exact"] else ""
    shown = (
        (least + _text(report["information"], 1), "nats about x in z", _cap_words(report)),
        (alive, *rule),
        (_text(report["swap"], 1), "nats lost by a swap", "codes of other rows"),
        (_text(report["negative_bound"], 1), "negative ELBO, nats", _nll_words(report)),
    )
    for column, (value, what, note) in enumerate(shown):
        left, height = (LEFT + 2.1 * column) / 9, picture.get_figheight()
        picture.text(left, (low + 0.23) / height, value, fontsize=28, fontweight="bold")
        picture.text(left, low / height, what, fontsize=11)
        picture.text(left, (low - 0.22) / height, note, fontsize=10, color=style.NOTE)


def _text(value: float | None, decimals: int) -> str:
    return "–" if value is None else number(value + 0.0, decimals)


def _cap_words(report: Mapping[str, Any]) -> str:
    if report["information"] is None:
        return "no density, no rate"
    if report["ceiling"] is None:
        return "summed over all z"
    return f"ceiling log {math.exp(report['ceiling']):.0f} = {report['ceiling']:.1f}"


def _nll_words(report: Mapping[str, Any]) -> str:
    if report["nll"] is None:
        return ""
    exact = f"{report['samples']}-sample bound" if not report["exact"] else "exact NLL"
    return f"{exact} {number(report['nll'], 1)}"


def _alive(report: Mapping[str, Any]) -> tuple[str, tuple[str, str]]:
    if report["dimensions"]:
        rule = ("active units", "variance of means > 0.01")
        return f"{report['active']} / {len(report['dimensions'])}", rule
    if masses := report["components"]:
        least = report["thresholds"]["component"] / len(masses)
        alive = sum(mass >= least for mass in masses)
        return f"{alive} / {len(masses)}", ("components alive", f"mass above {least:.2g}")
    return "–", ("active units", "z has no Gaussian posterior")
