"""The MCC bench: turn one representation until it matches another, and see what a score forgives.

To be noticed: which of the four scores a move changes, and how far each stands above its hatch. A
score says nothing until its floor is beside it: with few rows for each dimension CCA in sample
scores high on noise alone.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import ipywidgets as W
import numpy as np
from matplotlib.collections import LineCollection, PolyCollection
from numpy.typing import ArrayLike, NDArray

from lvmlab.plots import style
from lvmlab.plots.frames import halo, heading, live, names, number, place, ticks
from lvmlab.plots.identifiability import CorrelationMarks
from lvmlab.widgets.bench_moves import (
    ALIGNMENTS,
    MIXED,
    ROWS,
    Given,
    Moves,
    built,
    given_pair,
    measured,
    moved,
)
from lvmlab.widgets.panel import Panel
from lvmlab.widgets.player import begin

if TYPE_CHECKING:
    from lvmlab.diagnostics import MCC

Array = NDArray[Any]
DIMS = (2, 4, 20, 50)
SHOWN = 300  # dots in a scatter
SPAN = 4.5  # half the width of a scatter, in standard deviations


def mcc_bench(
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    start: Mapping[str, Any] | None = None,
) -> Panel:
    """Make the bench over two representations a (N, D) and b (N, E), codes of the same N rows.

    Without them: a holds independent Laplace sources, and b starts as data x, the sources turned by
    30 degrees in the planes (1, 2), (3, 4) and so on, of `d` dimensions. `labels` (N,), integers
    from 0 to 9, colour the dots.

    Controls: `rotation` turns b in those planes, `noise` is added in units of its columns, `bend`
    raises its values to a power of up to 3 (keeping signs), `stretch` multiplies its first axis,
    `rows` takes the first so many, `correlation` and `show` choose what the table holds; `start`
    sets controls by name. CCA takes all components; held out, it is fitted on the even rows and
    scored on the odd ones. Raises `ValueError` for one representation without the other, fewer than
    60 rows, fewer rows than columns, and arrays that do not fit.
    """
    given = None if a is None and b is None else given_pair(a, b, labels)
    with style.style():
        bench = BenchPicture(given)
    controls = _controls(given)
    begin(controls, start)
    return Panel(bench.picture, bench.show, **controls)


def mcc_states(rotation: float = MIXED + 65, rows: int = 120) -> style.Picture:
    """Draw the bench on a page: sources turned away, and 50 dimensions of noise.

    To be noticed: "matched" calls a rotation a failure and CCA forgives it; on noise CCA in sample
    scores high, and so does its floor.
    """
    from lvmlab.plots.identifiability import score_columns

    random = np.random.default_rng(1)
    noise = Given(random.normal(size=(rows, 50)), random.normal(size=(rows, 50)), np.zeros(rows),
                  ("a", "b", "b"))  # fmt: skip
    shown = {
        f"Sources, turned by {rotation - MIXED:g}°": (built(4), Moves(rotation), ROWS[-1]),
        f"Noise, 50 dimensions, {rows} rows": (noise, Moves(), rows),
    }
    with style.style():
        picture, said = style.figure(9.0, 3.6), []
        for left, (title, setting) in zip((0.6, 5.0), shown.items(), strict=True):
            found = {name: s for name, s in measured(*setting, "pearson").items() if s is not None}
            ax = place(picture, left, 0.6, 3.9, 2.3)
            columns = {n.replace(", ", ",\n"): [score.mcc] for n, score in found.items()}
            floors = {n.replace(", ", ",\n"): score.floor for n, score in found.items()}
            score_columns(ax, columns, floors)
            ax.tick_params(labelleft=left < 1)
            names(ax, y="MCC" if left < 1 else "")
            heading(ax, title, "hatched: what shuffled rows score")
            said.append(f"{title}: {_told(found)}")
    picture.alt = f"{'; '.join(said)}."
    return picture


def _controls(given: Given | None) -> dict[str, Any]:
    wide: dict[str, Any] = {
        "layout": W.Layout(width="285px"),
        "style": {"description_width": "74px"},
    }

    def choice(options: Any, value: Any, name: str) -> W.SelectionSlider:
        return W.SelectionSlider(options=options, value=value, description=name, **wide)

    controls: dict[str, Any] = {
        "rotation": W.IntSlider(0, min=0, max=180, step=5, description="rotation, °", **wide),
        "noise": W.FloatSlider(0, min=0, max=2, step=0.1, description="noise", **wide),
        "bend": W.FloatSlider(0, min=0, max=1, step=0.25, description="bend", **wide),
        "stretch": choice((-2, -1, -0.5, 0.5, 1, 2), 1, "stretch z₁"),
    }
    count = ROWS[-1] if given is None else len(given.a)
    least = 0 if given is None else max(given.a.shape[1], given.b.shape[1])
    rows = sorted({*(n for n in ROWS if least <= n < count), min(count, ROWS[-1])})
    controls["rows"] = choice(rows, 500 if 500 in rows else rows[-1], "rows N")
    if given is None:
        controls["d"] = choice(DIMS, 2, "d")
    for name, options, value in (
        ("correlation", ("pearson", "spearman"), "pearson"),
        ("show", ALIGNMENTS, "matched"),
    ):
        controls[name] = W.Dropdown(options=options, value=value, description=name, **wide)
    return controls


class BenchPicture:
    """The picture of the bench with its moving marks; `show` sets moves, rows and the table."""

    def __init__(self, given: Given | None) -> None:
        self.given, self.raw = given, lru_cache(maxsize=64)(self._raw)
        words = (given or built(DIMS[0])).words
        self.picture = style.figure(9.0, 5.75)
        self.scatters = [_plane(self.picture, left, word) for left, word in
                         zip((0.65, 3.55), words, strict=False)]  # fmt: skip
        heading(self.scatters[0].axes, words[0], "first two axes, unit scale")
        heading(self.scatters[1].axes, words[1], "turn it until it matches")
        table = place(self.picture, 6.5, 2.75, 2.3, 2.3)
        self.title, self.note = heading(table, " ", " ")
        names(table, x=words[1], y=words[0])
        self.table = CorrelationMarks(table)
        live(self.title, self.note, self.table.image, self.table.boxes, *self.table.words)
        self.strip = StripMarks(place(self.picture, 1.6, 0.5, 5.9, 1.15), words[2])

    def _raw(self, d: int, rows: int, correlation: str) -> "dict[str, MCC | None]":
        return measured(self.given or built(d), Moves(), rows, correlation)

    def show(
        self, rotation: float, noise: float, bend: float, stretch: float, rows: int,
        correlation: str, show: str, d: int = DIMS[0],
    ) -> str:  # fmt: skip
        """Show one setting; return the sentence that tells its scores and their floors."""
        given = self.given or built(d)
        moves = Moves(rotation, noise, bend, stretch)
        if rows < max(given.a.shape[1], given.b.shape[1]):
            raise ValueError(f"rows: expected at least as many as dimensions, got {rows}")
        found = measured(given, moves, rows, correlation)
        for scatter, codes in zip(self.scatters, (given.a, moved(given.b, moves)), strict=True):
            shown = slice(min(rows, SHOWN))
            scatter.set_offsets(codes[shown, :2])
            scatter.set_facecolor(_inks(given.labels)[shown])
        chosen = found[show]
        self.title.set_text(f"Correlations, {given.a.shape[1]} × {given.b.shape[1]}")
        self.note.set_text(f"{show}; boxes: pairs")
        if chosen is None:
            self.note.set_text(f"{show}: not defined here")
            self.table.show(np.zeros((1, 1)), np.zeros((0, 2)))
        else:
            self.table.show(chosen.correlations, chosen.matching)
        self.strip.show(found, self.raw(d, rows, correlation))
        part = number(float(f"{given.b.shape[1] / rows:.2g}"))
        turned = ", ".join(f"{n} {number(float(v))}" for n, v in moves._asdict().items())
        return (
            f"{turned}; {rows} rows, {part} dimensions a row, {correlation}: {_told(found)}; the "
            f"table is {show}."
        )


class StripMarks:
    """Four scores on one line each: a stroke, its number, a ring for the start, chance hatched."""

    def __init__(self, ax: Any, raw: str) -> None:
        ax.set(xlim=(0, 1.03), ylim=(-0.5, 3.5))
        ticks(ax, x=(0, 0.5, 1), y=(3, 2, 1, 0), y_labels=list(ALIGNMENTS))
        ax.tick_params(axis="y", length=0)
        heading(ax, "What the alignment forgives", f"MCC; ring: {raw}; hatched: shuffled rows")
        self.bands = PolyCollection(
            [], facecolors=style.HATCH_GROUND, edgecolors=style.AXIS, hatch="/////", linewidths=0,
            zorder=1.5,
        )  # fmt: skip
        self.edges = LineCollection([], colors=style.NOTE, linewidths=1.2, zorder=1.6)
        self.strokes = LineCollection([], colors=style.INK, linewidths=4, zorder=4)
        for marks in (self.bands, self.edges, self.strokes):
            ax.add_collection(marks, autolim=False)
        (self.rings,) = ax.plot([], [], "o", ms=8, mfc="none", mec=style.AXIS, mew=1.6, zorder=3)
        self.numbers = [
            halo(ax.text(1.05, y, "", va="center", fontsize=11, fontweight="bold", zorder=5))
            for y in (3, 2, 1, 0)
        ]
        live(self.bands, self.edges, self.strokes, self.rings, *self.numbers)

    def show(self, found: "Mapping[str, MCC | None]", raw: "Mapping[str, MCC | None]") -> None:
        """Show the score of each alignment over its floor, and where the codes began."""
        bands, edges, strokes, rings = [], [], [], []
        for y, word, name in zip((3, 2, 1, 0), self.numbers, ALIGNMENTS, strict=True):
            score, before = found[name], raw[name]
            if score is None or before is None:
                word.set_text("not defined")
                continue
            word.set_text(f"{number(score.mcc, 2)} over {number(score.floor, 2)}")
            low, high, floor = y - 0.42, y + 0.42, score.floor
            bands.append(np.array([(0, low), (floor, low), (floor, high), (0, high)]))
            edges.append([(floor, low), (floor, high)])
            strokes.append([(score.mcc, y - 0.34), (score.mcc, y + 0.34)])
            rings.append((before.mcc, y))
        self.bands.set_verts(bands)
        self.edges.set_segments(edges)
        self.strokes.set_segments(strokes)
        self.rings.set_data(*np.array(rings).reshape(-1, 2).T)


def _plane(picture: style.Picture, left: float, word: str) -> Any:
    ax = place(picture, left, 2.75, 2.3, 2.3, kind="floor")
    ax.set(xlim=(-SPAN, SPAN), ylim=(-SPAN, SPAN))
    ticks(ax, x=(-3, 0, 3), y=(-3, 0, 3))
    names(ax, x="axis 1", y="" if left > 1 else "axis 2")
    if left > 1:
        ax.tick_params(labelleft=False)
    marks = ax.scatter([], [], s=11, linewidths=0, alpha=0.75, zorder=2)
    live(marks)
    return marks


def _inks(labels: Array) -> Array:
    few = int(labels.max()) < len(style.FEW_CLASSES)
    inks = style.FEW_CLASSES if few else style.CLASSES
    if not labels.any():
        inks = (style.Q,)
    return np.array(inks)[labels.astype(int)]


def _told(found: "Mapping[str, MCC | None]") -> str:
    return ", ".join(
        f"{name} {number(score.mcc, 2)} (floor {number(score.floor, 2)})"
        for name, score in found.items()
        if score is not None
    )
