"""The estimator panel: a known information, and the rulers that stop reading it at their ceilings.

To be noticed: curves leave the exact line and flatten under hatched ceilings; at seven nats each
ruler says "at least". The readings come with the package, so that no move waits for an estimator.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ipywidgets as W
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection

from lvmlab.plots import estimators, style
from lvmlab.plots.estimators import FULL, Curves, apart, check_curves, curve_axes, curve_note
from lvmlab.plots.frames import halo, heading, live, names, number, place, ticks
from lvmlab.plots.measure import Array
from lvmlab.widgets.panel import Panel

RECORDED = Path(__file__).with_name("estimator_curves.csv")
TOP = 10.0  # nats, the top of both panels
BAND = 0.3  # nats, the height of a hatched band
SHADES = (style.ESTIMATORS[1], FULL, style.INK)  # minibatch, full set, KSG


def recorded_curves() -> dict[str, Any]:
    """Return the readings that come with the package: 2-D Gaussians of 0 to 12 nats, ten runs.

    As `lvmlab.diagnostics.estimators.estimator_curves` gives them: 4,096 pairs, M from 8 to 4,096,
    k from 3 to 15.
    """
    labels = RECORDED.read_text(encoding="utf-8").splitlines()[1].split(",")[2:]
    table = np.loadtxt(RECORDED, delimiter=",", skiprows=2)
    seeds = len(np.unique(table[:, 0]))
    readings = table[:, 2:].reshape(seeds, -1, len(labels))
    batches = [i for i, label in enumerate(labels) if label[0] == "M"]
    numbers = np.array([int(label[1:]) for label in labels])
    rest = [i for i in range(len(labels)) if i not in batches]
    return {
        "information": table[table[:, 0] == 0, 1],
        "batch_sizes": numbers[batches],
        "ks": numbers[rest],
        "samples": int(numbers[batches].max()),
        "dim": 2,
        "minibatch": readings[:, :, batches],
        "ksg": readings[:, :, rest],
    }


def estimator_panel(curves: Mapping[str, Any] | None = None) -> Panel:
    """Make the panel: true information, minibatch size M and the k of KSG over recorded readings.

    `curves` is what `lvmlab.diagnostics.estimators.estimator_curves` gives (default: readings that
    come with the package), with the full set as its largest batch. Raises `ValueError` for readings
    that do not fit together.
    """
    known = check_curves(recorded_curves() if curves is None else curves)
    with style.style():
        drawn = EstimatorPicture(known)
    wide: dict[str, Any] = {
        "layout": W.Layout(width="290px"),
        "style": {"description_width": "initial"},
    }

    def slider(values: Array, name: str, wish: float) -> W.SelectionSlider:
        options = [(number(float(v)), v.item()) for v in values]
        near = values[np.abs(values - wish).argmin()].item()
        return W.SelectionSlider(options=options, value=near, description=name, **wide)

    return Panel(
        drawn.picture,
        drawn.show,
        information=slider(known.information, "true information", 2.0),
        batch_size=slider(known.batch_sizes.astype(int), "M", 32),
        k=slider(known.ks.astype(int), "k", 5),
    )


def estimator_states(curves: Mapping[str, Any] | None = None, **settings: Any) -> style.Picture:
    """Draw the panel on a page: curves under ceilings, and every run at 2, 7 and 12 nats.

    `settings` are those of `lvmlab.plots.estimators.estimator_states`: `informations`,
    `batch_sizes` and `k`.
    """
    return estimators.estimator_states(recorded_curves() if curves is None else curves, **settings)


class EstimatorPicture:
    """The picture of the panel with its moving marks; `show` sets information, M and k."""

    def __init__(self, known: Curves) -> None:
        self.known = known
        self.picture = style.figure(9.0, 4.1)
        self.curves = ax = place(self.picture, 0.65, 0.6, 3.65, 2.75)
        curve_axes(ax, known, TOP)
        heading(ax, "An estimator stops at its ceiling", curve_note(known))
        self.cursor = ax.axvline(0, color=style.INK, lw=1, zorder=0.5)
        live(self.cursor)
        self.lines = [CurveMarks(ax, colour) for colour in SHADES]
        self.lines[2].mean.set_linestyle(style.DASHED)
        word: dict[str, Any] = {"va": "center", "fontsize": 10.5, "fontweight": "bold"}
        end = 1.015 * known.information[-1]
        self.labels = [ax.text(end, 0, "", color=colour, **word) for colour in SHADES]
        live(*self.labels)
        self.columns = ColumnMarks(place(self.picture, 6.8, 0.6, 2.1, 2.75))

    def show(self, information: float, batch_size: int, k: int) -> str:
        """Show one setting; return the sentence that tells its readings and their ceilings."""
        known, at = self.known, self.known.at(information)
        films = (known.batch(batch_size), known.batch(known.samples), known.neighbours(k))
        caps = (np.log(batch_size), np.log(known.samples), known.ksg_ceiling(k))
        told = (
            f"M = {batch_size}: log M = {caps[0]:.2f}",
            f"all N: log N = {caps[1]:.2f}",
            f"KSG: ψ(N)−ψ({k}) = {caps[2]:.2f}",
        )
        exact = float(known.information[at])
        self.cursor.set_xdata([exact, exact])
        for marks, values, cap in zip(self.lines, films, caps, strict=True):
            marks.show(known.information, values, cap)
        heights = apart(caps, 0.75)
        for label, words, height in zip(self.labels, told, heights, strict=True):
            label.set(text=words, y=height)
        self.columns.show(exact, [film[:, at] for film in films], caps, batch_size)
        means = [number(float(film[:, at].mean()), 2) for film in films]
        return (
            f"At an exact {number(exact, 2)} nats batches of {batch_size} read {means[0]} (ceiling "
            f"{caps[0]:.2f}), the full set {means[1]} ({caps[1]:.2f}) and KSG with k = {k} "
            f"{means[2]} ({caps[2]:.2f}); means of {len(known.ksg)} runs."
        )


def _band(left: float, right: float, cap: float) -> Array:
    return np.array([(left, cap), (left, cap + BAND), (right, cap + BAND), (right, cap)])


def _bands(ax: Axes) -> PolyCollection:
    """Add hatched bands that can be moved; their lower edges are drawn with them."""
    bands = PolyCollection(
        [], facecolors=style.HATCH_GROUND, edgecolors=style.AXIS, hatch="/////", linewidths=0,
        zorder=1.5,
    )  # fmt: skip
    ax.add_collection(bands, autolim=False)
    return bands


class CurveMarks:
    """One estimator's curves: thin runs, a thick mean, and its ceiling where it begins to bite."""

    def __init__(self, ax: Axes, colour: str) -> None:
        self.band = _bands(ax)
        (self.edge,) = ax.plot([], [], color=style.NOTE, lw=1.2, zorder=1.6)
        self.runs = LineCollection([], colors=colour, linewidths=0.5, alpha=0.45, zorder=2)
        ax.add_collection(self.runs, autolim=False)
        (self.mean,) = ax.plot([], [], color=colour, lw=2.4, zorder=3)
        live(self.band, self.edge, self.runs, self.mean)

    def show(self, x: Array, values: Array, cap: float) -> None:
        """Show runs (S, I) over the exact information (I,), and their ceiling in nats."""
        self.runs.set_segments([np.stack([x, run], -1) for run in values])
        self.mean.set_data(x, values.mean(0))
        start = min(cap, float(x[-1]))
        self.band.set_verts([_band(start, float(x[-1]), cap)])
        self.edge.set_data([start, x[-1]], [cap, cap])


class ColumnMarks:
    """Every run of three estimators at one information: dots, mean strokes, numbers, ceilings."""

    def __init__(self, ax: Axes) -> None:
        self.ax = ax
        ax.set(xlim=(-0.6, 2.6), ylim=(0, TOP))
        ticks(ax, x=(), y=(0, TOP / 2, TOP))
        names(ax)
        self.title, _ = heading(ax, " ", "dots: runs; number: mean")
        self.exact = ax.axhline(0, color=style.EXACT, lw=1.6, zorder=1)
        self.band = _bands(ax)
        self.edges = LineCollection([], colors=style.NOTE, linewidths=1.2, zorder=1.6)
        ax.add_collection(self.edges, autolim=False)
        self.dots = [
            ax.plot([], [], "o", ms=3.9, mew=0, alpha=0.55, color=c, zorder=3)[0] for c in SHADES
        ]
        self.strokes = [ax.plot([], [], lw=3.2, color=c, zorder=4)[0] for c in SHADES]
        bold: dict[str, Any] = {"ha": "center", "fontsize": 11, "fontweight": "bold", "zorder": 5}
        self.numbers = [halo(ax.text(i, 0, "", color=c, **bold)) for i, c in enumerate(SHADES)]
        self.ticks = [
            ax.text(i, -0.03 * TOP, name, ha="center", va="top", fontsize=10, color=style.TICK)
            for i, name in enumerate(("", "all N", "KSG"))
        ]
        live(self.title, self.exact, self.band, self.edges, *self.dots, *self.strokes)
        live(*self.numbers, self.ticks[0])

    def show(
        self, exact: float, readings: list[Array], caps: tuple[float, ...], batch_size: int
    ) -> None:
        """Show the readings (S,) of minibatch, full set and KSG at one exact information."""
        self.title.set_text(f"At {number(exact)} nats")
        self.exact.set_ydata([exact, exact])
        self.band.set_verts([_band(i - 0.36, i + 0.36, cap) for i, cap in enumerate(caps)])
        self.edges.set_segments([[(i - 0.36, c), (i + 0.36, c)] for i, c in enumerate(caps)])
        self.ticks[0].set_text(f"M {batch_size}")
        for i, values in enumerate(readings):
            spread = 0.3 * ((np.arange(len(values)) * 0.6180339887) % 1 - 0.5)
            mean = float(values.mean())
            self.dots[i].set_data(i + spread, values)
            self.strokes[i].set_data([i - 0.28, i + 0.28], [mean, mean])
            below = values.min() > 0.16 * TOP
            height = values.min() - 0.03 * TOP if below else values.max() + 0.03 * TOP
            self.numbers[i].set(text=number(mean, 1), y=height, va="top" if below else "bottom")
