"""Second opinion: models that nobody introduces, their reports, and how many rows a verdict needs.

To be noticed: two models of one likelihood, of which one has collapsed; and with few rows some
verdicts become "cannot tell". The reports are made before, so that no move waits for them.
"""

from collections.abc import Mapping
from typing import Any

import ipywidgets as W
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.patches import Rectangle

from lvmlab.plots import style
from lvmlab.plots.curves import split_bar
from lvmlab.plots.frames import halo, heading, live, names, number, place, three, ticks
from lvmlab.plots.measure import Array
from lvmlab.widgets.panel import Panel
from lvmlab.widgets.player import begin

RULERS = ("minibatch", "full set", "KSG")
SHADES = {"minibatch": style.ESTIMATORS[1], "full set": style.ESTIMATORS[2], "KSG": style.INK}
SPAN = 3.5  # of z, as in the report's grid
LETTERS = "ABCDEFGHIJ"
NEEDED = ("distortion", "rate", "information", "nll", "gap")


def second_opinion(
    reports: Mapping[str, Mapping[int, Any]], start: Mapping[str, Any] | None = None
) -> Panel:
    """Make the panel over reports: `reports[name][rows]` is what `lvmlab.report` gave.

    All models share their numbers of rows; at most ten models, each with a rate. Controls: `model`
    (letters, so that you can guess first), `rows`, a box for each ruler of information, and
    `hide_names`. `start` sets controls by name. Raises `ValueError` for reports that lack numbers
    or do not fit together.
    """
    known = _checked(reports)
    counts = sorted(next(iter(known.values())))
    with style.style():
        drawn = OpinionPicture(known)
    wide: dict[str, Any] = {"style": {"description_width": "initial"}}
    letters = [(f"model {LETTERS[i]}", name) for i, name in enumerate(known)]
    near = min(counts, key=lambda rows: abs(rows - 2000))
    controls: dict[str, Any] = {
        "model": W.Dropdown(
            options=letters, description="who", layout=W.Layout(width="170px"), **wide
        ),
        "rows": W.SelectionSlider(options=counts, value=near, description="rows", **wide),
    }
    for ruler in RULERS:
        box = W.Checkbox(True, description=ruler, indent=False, layout=W.Layout(width="105px"))
        controls[ruler.replace(" ", "_")] = box
    hide = W.Checkbox(True, description="hide names", indent=False, layout=W.Layout(width="120px"))
    controls["hide_names"] = hide
    begin(controls, start)
    return Panel(drawn.picture, drawn.show, **controls)


def second_opinions(reports: Mapping[str, Mapping[int, Any]], rows: int = 2000) -> style.Picture:
    """Draw every model's report at one number of rows, a line each: costs, aggregate, verdict.

    Takes the reports of `second_opinion`; `rows` is one of their numbers.
    """
    known = _checked(reports)
    if any(rows not in by_rows for by_rows in known.values()):
        raise ValueError(f"rows: expected one of {sorted(next(iter(known.values())))}, got {rows}")
    height = 0.75 + 1.12 * len(known)
    picture = style.figure(9.0, height)
    end = max(_end(by_rows[rows]) for by_rows in known.values())
    said = []
    with style.style():
        for i, (name, by_rows) in enumerate(known.items()):
            found, low = by_rows[rows], height - 0.42 - 1.12 * (i + 1) + 0.25
            ax = place(picture, 0.45, low, 5.6, 0.5)
            _cost_axes(ax, end, i == len(known) - 1)
            costs = CostMarks(ax)
            costs.show(found)
            _line_words(ax, name, found, i == 0)
            strip = place(picture, 6.9, low, 1.8, 0.62, "blank")
            AggregateMarks(strip).show(found)
            if i == 0:
                strip.set_title("q(z) and p(z)", fontsize=11)
            said.append(f"{name}: {found.verdict.headline}")
    picture.alt = f"{rows} rows each. {'; '.join(said)}."
    return picture


def _line_words(ax: Axes, name: str, found: Any, first: bool) -> None:
    note: dict[str, Any] = {
        "xycoords": "axes fraction",
        "textcoords": "offset points",
        "fontsize": 11,
    }
    ax.annotate(name, (0, 1), xytext=(0, 5), fontweight="bold", **note)
    ax.annotate(found.verdict.headline, (1, 1), xytext=(0, 5), ha="right", **note)
    if first:
        words = "grey: distortion; blue: information; orange: KL(q(z) | p(z)); hatched: the gap"
        ax.annotate(words, (0, 1), xytext=(0, 26), color=style.NOTE, **(note | {"fontsize": 10}))


class OpinionPicture:
    """The picture of the panel with its moving marks; `show` puts one report on it."""

    def __init__(self, known: dict[str, dict[int, Any]]) -> None:
        self.known = known
        found = [report for by_rows in known.values() for report in by_rows.values()]
        self.picture = style.figure(9.0, 5.3)
        bold: dict[str, Any] = {"fontsize": 19, "fontweight": "bold"}
        self.headline = self.picture.text(0.45 / 9, 4.85 / 5.3, "", **bold)
        self.evidence = self.picture.text(0.45 / 9, 4.56 / 5.3, "", fontsize=10)
        self.who = self.picture.text(8.8 / 9, 4.87 / 5.3, "", ha="right", color=style.NOTE)
        ax = place(self.picture, 0.45, 3.35, 8.35, 0.45)
        _cost_axes(ax, max(_end(report) for report in found), True)
        note = "grey: distortion; blue: information; orange: KL(q(z) | p(z)); hatched: the gap"
        heading(ax, "Negative ELBO and the NLL inside it, nats", note)
        self.costs = CostMarks(ax)
        self.rulers = RulerMarks(place(self.picture, 0.45, 0.6, 3.3, 1.75), found)
        self.data = DataMarks(place(self.picture, 4.45, 0.6, 1.75, 1.75, "box"), found)
        ax = place(self.picture, 6.75, 0.6, 2.05, 1.75, "floor")
        heading(ax, "First latent", "blue: q(z); orange: p(z)")
        ticks(ax, x=(-3, 0, 3), y=())
        names(ax, x=r"$z_1$")
        self.aggregate = AggregateMarks(ax)

    def show(self, model: str, rows: int, hide_names: bool, **rulers: bool) -> str:
        """Show one report; return the sentence that tells its verdict."""
        report = self.known[model][rows]
        told = f"model {LETTERS[list(self.known).index(model)]}" if hide_names else model
        self.headline.set_text(report.verdict.headline)
        evidence = report.verdict.evidence
        self.evidence.set_text(evidence if len(evidence) < 118 else evidence[:115] + "...")
        self.who.set_text(f"{told}, {rows:,} rows")
        self.costs.show(report)
        self.rulers.show(report, {r for r in RULERS if rulers.get(r.replace(" ", "_"), True)})
        self.data.show(report)
        self.aggregate.show(report)
        return f"{told}, {rows} rows: {report.verdict.headline}. {report.verdict.evidence}."


class CostMarks:
    """Distortion, information and KL end to end, with the gap hatched over their end."""

    def __init__(self, ax: Axes) -> None:
        self.parts = split_bar(ax, 0, [1, 1, 1], [style.EXACT, style.Q, style.P], 0.7)
        self.gap = Rectangle(
            (0, -0.35), 0, 0.7, facecolor="none", edgecolor=style.INK, hatch="/////", lw=0, zorder=3
        )
        ax.add_patch(self.gap)
        self.total = ax.text(0, 0, "", va="center", fontsize=11, fontweight="bold", zorder=4)
        live(*self.parts, self.gap, self.total)

    def show(self, report: Any) -> None:
        """Show one report's costs in nats; a negative distortion starts left of 0."""
        at = min(0.0, report.distortion)
        widths = (abs(report.distortion), max(0.0, report.information), _kl(report))
        for part, width in zip(self.parts, widths, strict=True):
            part.set(x=at, width=width)
            at += width
        end = report.distortion + report.rate
        gap = max(0.0, report.gap)
        self.gap.set(x=end - gap, width=gap)
        words = f" {number(end, 2)}, NLL {number(report.nll, 2)}"
        self.total.set(text=words, x=max(at, end))


class RulerMarks:
    """One bar for each ruler of information that is chosen, with its ceiling."""

    def __init__(self, ax: Axes, found: list[Any]) -> None:
        rates = [report.rate for report in found]
        caps = [e.ceiling for r in found for e in r.estimates if np.isfinite(e.ceiling)]
        end = 1.1 * max([*rates, *caps])
        ax.set(xlim=(0, end), ylim=(-0.5, 4.3))
        ax.spines["left"].set_visible(False)
        ticks(ax, x=three(0, end), y=())
        names(ax, x="nats")
        heading(ax, "How much does z know?", "dotted: ceilings; grey: the rate, an upper bound")
        self.bars = split_bar(ax, 0, [0] * 4, [style.INK] * 4, 0.3)
        self.caps = [
            ax.plot([], [], color=style.NOTE, lw=1.6, ls=style.DOTTED, zorder=3)[0]
            for _ in range(4)
        ]
        self.words = [halo(ax.text(0, 0, "", fontsize=10, va="bottom")) for _ in range(4)]
        self.rate = ax.axvline(0, color=style.EXACT, lw=2.4, zorder=1)
        live(*self.bars, *self.caps, *self.words, self.rate)

    def show(self, report: Any, chosen: set[str]) -> None:
        """Show the estimates of a report whose rulers are chosen."""
        rows = [e for e in report.estimates if _ruler(e.estimator) in chosen][:4]
        self.rate.set_xdata([report.rate] * 2)
        for i, (bar, cap, words) in enumerate(zip(self.bars, self.caps, self.words, strict=True)):
            if i >= len(rows):
                bar.set_width(0)
                cap.set_data([], [])
                words.set_text("")
                continue
            row, at = rows[i], 3.3 - i
            bar.set(y=at - 0.15, width=max(0.0, row.information))
            bar.set_color(SHADES.get(_ruler(row.estimator), style.INK))
            finite = np.isfinite(row.ceiling)
            x, y = ([row.ceiling] * 2, [at - 0.3, at + 0.3]) if finite else ([], [])
            cap.set_data(x, y)
            least = "at least " if row.at_ceiling and not report.exact else ""
            words.set(text=f"{row.estimator}: {least}{number(row.information, 2)}", y=at + 0.17)


class DataMarks:
    """What is decoded from a row's own code, and from another row's."""

    def __init__(self, ax: Axes, found: list[Any]) -> None:
        heading(ax, "Reconstruction", "orange: own; grey: swapped")
        shown = [report.arrays["data"].ravel() for report in found if "data" in report.arrays]
        edges = [v for part in shown for v in np.quantile(part, (0.002, 0.998))] or [0.0, 1.0]
        low, high = min(edges), max(edges)
        pad = 0.1 * (high - low) or 0.5
        ax.set(xlim=(low - pad, high + pad), ylim=(low - pad, high + pad))
        ticks(ax, x=three(*ax.get_xlim()), y=three(*ax.get_ylim()))
        names(ax, x="data")
        ax.plot([low, high], [low, high], color=style.EXACT, lw=1.6, zorder=1)
        dots: dict[str, Any] = {"ms": 2.4, "mew": 0, "alpha": 0.6}
        (self.swapped,) = ax.plot([], [], "o", color=style.AXIS, zorder=2, **dots)
        (self.own,) = ax.plot([], [], "o", color=style.P, zorder=3, **dots)
        live(self.swapped, self.own)

    def show(self, report: Any) -> None:
        """Show every number of the data against what is decoded, at most 400."""
        data = report.arrays.get("data", np.zeros(0)).ravel()
        step = max(1, len(data) // 400)
        for marks, name in ((self.own, "decoded"), (self.swapped, "swapped")):
            found = report.arrays.get(name)
            marks.set_data(*(([], []) if found is None else (data[::step], found.ravel()[::step])))


class AggregateMarks:
    """q(z_1) as a blue area under the orange line of the prior."""

    def __init__(self, ax: Axes) -> None:
        self.ax = ax
        ax.set(xlim=(-SPAN, SPAN), ylim=(0, 1))
        self.area = PolyCollection([], facecolors=style.Q, alpha=0.85, lw=0, zorder=2)
        ax.add_collection(self.area, autolim=False)
        (self.line,) = ax.plot([], [], color=style.P, lw=2, zorder=3)
        live(self.area, self.line)

    def show(self, report: Any) -> None:
        """Show one report's first dimension; a density far above the prior's is cut off."""
        arrays = report.arrays
        if "aggregate" not in arrays:
            self.area.set_verts([])
            self.line.set_data([], [])
            return
        grid, q = arrays["grid"], arrays["aggregate"][0]
        self.area.set_verts([_under(grid, q)])
        prior = arrays.get("prior_density")
        self.line.set_data(grid if prior is not None else [], [] if prior is None else prior[0])


def _under(grid: Array, values: Array) -> Array:
    top = np.stack([grid, values], -1)
    return np.concatenate([[[grid[0], 0.0]], top, [[grid[-1], 0.0]]])


def _ruler(estimator: str) -> str:
    return next((ruler for ruler in RULERS if estimator.startswith(ruler)), "full set")


def _kl(report: Any) -> float:
    return max(0.0, report.rate - max(0.0, report.information))


def _end(report: Any) -> float:
    return report.distortion + report.rate


def _cost_axes(ax: Axes, end: float, ticked: bool) -> None:
    ax.set(xlim=(0, 1.32 * end), ylim=(-0.5, 0.5))
    ax.spines["left"].set_visible(False)
    ticks(ax, x=three(0, end), y=())
    ax.tick_params(labelbottom=ticked)


def _checked(reports: Mapping[str, Mapping[int, Any]]) -> dict[str, dict[int, Any]]:
    known = {name: dict(by_rows) for name, by_rows in reports.items()}
    if not 1 <= len(known) <= len(LETTERS):
        raise ValueError(f"reports: expected one to {len(LETTERS)} models, got {len(known)}")
    first = set(next(iter(known.values())))
    for name, by_rows in known.items():
        if not by_rows or set(by_rows) != first:
            raise ValueError(
                f"reports[{name!r}]: expected the same numbers of rows for all models, "
                f"{sorted(first)}, got {sorted(by_rows)}"
            )
        for rows, report in by_rows.items():
            if lacking := [n for n in NEEDED if getattr(report, n, None) is None]:
                raise ValueError(
                    f"reports[{name!r}][{rows}]: expected a report with {', '.join(NEEDED)}, but "
                    f"it lacks {', '.join(lacking)}; an encoder without a density has no rate"
                )
    return known
