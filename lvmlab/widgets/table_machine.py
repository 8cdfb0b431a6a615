"""The joint lens on tables: two joints that must agree, drawn with what each of them was given.

To be noticed: under L_CE p and q share the work, each covers a part of M; under L_MIM they become
one picture; under a VAE nothing in the loss asks for the information in E.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as W
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from lvmlab.plots import style
from lvmlab.plots.estimators import apart
from lvmlab.plots.frames import heading, live, names, number, place, three, ticks
from lvmlab.plots.measure import Array
from lvmlab.plots.tables import TableView
from lvmlab.widgets.panel import Panel
from lvmlab.widgets.player import begin, player
from lvmlab.widgets.table_films import TableFilm, table_films

KINDS = {"E": "q", "D": "p", "q": "q", "p": "p"}
FACTORS = {
    "E": r"$\hat q(x)\,q(z|x)$",
    "D": r"$\hat p(z)\,p(x|z)$",
    "q": r"$q(x)\,q(z|x)$",
    "p": r"$p(z)\,p(x|z)$",
}
INKS = {"q": style.Q, "p": style.P}


def table_machine(recordings: Mapping[str, Any], start: Mapping[str, Any] | None = None) -> Panel:
    """Make the live lens on tables: E, D, q and p, their marginals and the traces of a training.

    `recordings` maps an objective's name to recordings by seed of the anchors, or to one: each a
    `TableRecording` or a mapping with its fields. All share their seeds, steps and shape. Controls:
    `objective`, `anchors` (the seed), `step`, which begins at the last frame; play, pause and one
    step at a time drive `step`. `start` sets controls by name. Raises `ValueError` for tables that
    are no distributions, and for recordings that do not fit together.
    """
    made, seeds = table_films(recordings)
    every = [film for films in made.values() for film in films.values()]
    with style.style():
        lens = MachinePicture(every)
    wide: dict[str, Any] = {
        "layout": W.Layout(width="250px"),
        "style": {"description_width": "auto"},
    }
    last = len(every[0].steps) - 1
    controls: dict[str, Any] = {
        "objective": W.Dropdown(
            options=list(made), description="objective", layout=W.Layout(width="220px")
        ),
        "anchors": W.SelectionSlider(options=seeds, description="anchors seed", **wide),
        "step": W.IntSlider(last, min=0, max=last, description="step", readout=False, **wide),
    }
    begin(controls, start)

    def draw(objective: str, anchors: Any, step: int) -> str:
        return lens.show(objective, made[objective][anchors], step)

    return Panel(lens.picture, draw, extras=player(controls["step"]), **controls)


class MachinePicture:
    """The picture of the lens with its moving marks; `show` puts one frame of one film on it.

    All scales come from all films, so that nothing but the marks moves.
    """

    def __init__(self, every: list[TableFilm]) -> None:
        self.picture = style.figure(9.0, 4.95)
        shape, peak = every[0].q.shape[1:], table_peak(every)
        self.views = {
            letter: _table(self.picture, (0.5 + 1.78 * i, 2.6, 1.5, 1.5), shape, letter, peak)
            for i, letter in enumerate(KINDS)
        }
        self.notes = {}
        for letter, view in self.views.items():
            self.notes[letter] = heading(view.ax, letter, " ", INKS[KINDS[letter]])[1]
            view.ax.text(
                0.2, 1.235, FACTORS[letter], transform=view.ax.transAxes, fontsize=11, va="baseline"
            )
            names(view.ax, x="x", z="z" if letter == "E" else "")
            view.set_live()
        live(*self.notes.values())
        top = max(float(m.max()) for film in every for m in _margins(film))
        sides = [place(self.picture, 0.5 + 1.78 * i, 0.55, 1.5, 1.05) for i in (0, 1)]
        self.bars = [
            BarMarks(ax, size, top, ink, other)
            for ax, size, ink, other in zip(
                sides, shape, (style.Q, style.P), (style.P, style.Q), strict=True
            )
        ]
        heading(sides[0], "Over x", "wide: given; narrow: learned; dot: other joint")
        heading(sides[1], "and over z", " ")
        sides[1].tick_params(labelleft=False)
        names(sides[0], x="x")
        names(sides[1], x="z")
        self._add_traces(every)
        words = place(self.picture, 7.5, 2.6, 1.45, 1.9, kind="blank")
        self.name = words.text(0, 0.94, "", fontsize=16, fontweight="bold", va="center")
        self.big = words.text(-0.02, 0.66, "", fontsize=28, fontweight="bold", va="center")
        small: dict[str, Any] = {"fontsize": 10.5, "color": style.NOTE, "va": "center"}
        words.text(0, 0.44, "nats, SKL(q, p)", **small)
        self.step = words.text(0, 0.26, "", **small)
        words.text(0, 0.08, f"darkest cell {number(peak, 2)}", **{**small, "fontsize": 10})
        live(self.name, self.big, self.step)

    def _add_traces(self, every: list[TableFilm]) -> None:
        self.traces = ax = place(self.picture, 4.3, 0.55, 2.9, 1.05)
        heading(ax, "Traces", "nats against the step")
        values = np.concatenate([v[np.isfinite(v)] for f in every for v in f.traces().values()])
        low, high = min(0.0, float(values.min())), max(1.0, float(values.max()))
        steps = every[0].steps
        self.low, self.high = low - 0.02 * (high - low), high + 0.04 * (high - low)
        ax.set(xlim=(steps[0], max(steps[-1], steps[0] + 1)), ylim=(self.low, self.high))
        ends = [float(steps[0]), float(steps[-1])]
        ticks(ax, x=three(*ends) if len(steps) > 1 else ends[:1], y=three(low, high))
        names(ax, x="step")
        inks = (style.INK, style.NOTE, style.NOTE, style.INK)
        dashes, widths = ("-", "-", style.DOTTED, "-"), (2.4, 1.6, 1.6, 1.6)
        self.lines = [
            ax.plot([], [], color=c, ls=d, lw=w, zorder=3)[0]
            for c, d, w in zip(inks, dashes, widths, strict=True)
        ]
        self.beads = [ax.plot([], [], "o", ms=5, mew=0, color=c, zorder=4)[0] for c in inks]
        end = ax.get_xlim()[1] + 0.02 * np.ptp(ax.get_xlim())
        word: dict[str, Any] = {"va": "center", "fontsize": 10.5, "fontweight": "bold"}
        self.labels = [ax.text(end, 0, "", color=c, **word) for c in inks]
        self.cursor = ax.axvline(steps[0], color=style.INK, lw=1, zorder=0.5)
        live(*self.lines, *self.beads, *self.labels, self.cursor)

    def show(self, name: str, film: TableFilm, frame: int) -> str:
        """Show one frame; return the sentence that says what it shows."""
        colour, step = style.look(name).colour, number(float(film.steps[frame]))
        for letter, tables in film.tables().items():
            self.views[letter].show(tables[frame])
            self.notes[letter].set_text(f"I = {number(film.information[letter][frame], 2)} nats")
        over_x, over_z, other_x, other_z = _margins(film)
        self.bars[0].show(film.anchor_x, over_x[frame], other_x[frame])
        self.bars[1].show(film.anchor_z, over_z[frame], other_z[frame])
        self._show_traces(film, frame, colour)
        self.name.set(text=name, color=colour)
        self.big.set_text(number(film.apart[frame], 2))
        self.step.set_text(f"step {step}")
        told = ", ".join(f"{k} {number(v[frame], 3)}" for k, v in film.traces().items())
        parts = ", ".join(f"{k} {number(v[frame], 3)}" for k, v in film.information.items())
        return f"{name}, step {step}, in nats: {told}; information in {parts}."

    def _show_traces(self, film: TableFilm, frame: int, colour: str) -> None:
        now = film.steps[frame]
        self.cursor.set_xdata([now, now])
        curves = film.traces()
        heights = [float(np.clip(v[frame], self.low, self.high)) for v in curves.values()]
        step = 0.155 * (self.high - self.low)
        places = apart(heights, step)
        shift = max(0.0, max(places) - self.high)
        for i, (label, values) in enumerate(curves.items()):
            self.lines[i].set_data(film.steps, np.where(np.isfinite(values), values, np.nan))
            self.beads[i].set_data([now], [values[frame]])
            self.labels[i].set(text=f"{label} {number(values[frame], 2)}", y=places[i] - shift)
        for part in (self.lines[0], self.beads[0], self.labels[0]):
            part.set_color(colour)


class BarMarks:
    """One marginal: wide pale bars are given, narrow ones learned; dots are the other joint's."""

    def __init__(self, ax: Axes, size: int, top: float, ink: str, other: str) -> None:
        ax.set(xlim=(-0.6, size - 0.4), ylim=(0, 1.06 * top))
        ticks(ax, x=range(size), y=three(0, top))
        ax.tick_params(axis="x", length=0)
        self.given = PolyCollection([], facecolors=ink, alpha=0.3, linewidths=0, zorder=1)
        self.learned = PolyCollection([], facecolors=ink, linewidths=0, zorder=2)
        for bars in (self.given, self.learned):
            ax.add_collection(bars, autolim=False)
        hollow = "white" if other == style.P else other  # p is outlined, q filled
        (self.dots,) = ax.plot(
            [], [], "o", ms=5, mec=other, mfc=hollow, mew=1.5, zorder=3, clip_on=False
        )
        live(self.given, self.learned, self.dots)

    def show(self, given: Array, learned: Array, other: Array) -> None:
        """Show three marginals over the same values, (K,) each."""
        at = np.arange(len(given))
        for bars, values, half in ((self.given, given, 0.42), (self.learned, learned, 0.2)):
            left, right, low = at - half, at + half, 0 * values
            corners = ((left, low), (left, values), (right, values), (right, low))
            bars.set_verts(list(np.stack([np.stack(c, -1) for c in corners], 1)))
        self.dots.set_data(at, other)


def table_peak(every: Sequence[TableFilm]) -> float:
    """Return the largest probability of all tables, which fixes their common scale."""
    return max(float(table.max()) for film in every for table in film.tables().values())


def _margins(film: TableFilm) -> tuple[Array, Array, Array, Array]:
    """Return q(x) and p(z), which are learned, and p(x) and q(z), which follow, (T, .) each."""
    return film.q.sum(2), film.p.sum(1), film.p.sum(2), film.q.sum(1)


def _table(
    picture: style.Picture, rectangle: tuple, shape: tuple[int, int], letter: str, peak: float
) -> TableView:
    view = TableView(picture, rectangle, shape, KINDS[letter], peak, decimals=None)
    view.ax.tick_params(labelleft=letter == "E")
    return view


def table_machine_states(
    recordings: Mapping[str, Any],
    anchors: Any = None,
    step: int = -1,
    objectives: Sequence[str] | None = None,
) -> style.Picture:
    """Draw E, D, q and p of up to three objectives, a row each, at one frame of the recordings.

    `recordings` as for `table_machine`; `anchors` is the seed (default: the first), `step` the
    number of the frame (default: the last), `objectives` which rows to draw (default: the first
    three). To be noticed: only where q and p are one picture do encoder and decoder agree.
    """
    made, seeds = table_films(recordings)
    rows = list(made)[:3] if objectives is None else list(objectives)
    seed = seeds[0] if anchors is None else anchors
    if not 1 <= len(rows) <= 3 or not set(rows) <= set(made) or seed not in seeds:
        raise ValueError(
            f"objectives and anchors: expected 1 to 3 among {', '.join(made)} and a seed among "
            f"{seeds}; got {', '.join(rows)} and {seed}"
        )
    films = [made[name][seed] for name in rows]
    peak, shape = table_peak(films), films[0].q.shape[1:]
    picture, said = style.figure(9.0, 0.5 + 1.85 * len(rows)), []
    with style.style():
        for row, (name, film) in enumerate(zip(rows, films, strict=True)):
            bottom = 0.5 + 1.85 * (len(rows) - 1 - row)
            for i, (letter, tables) in enumerate(film.tables().items()):
                view = _table(picture, (0.5 + 1.66 * i, bottom, 1.4, 1.4), shape, letter, peak)
                view.show(tables[step])
                formula = f"{letter} = {FACTORS[letter]}"
                view.ax.set_title(
                    formula if row == 0 else "", fontsize=11, color=INKS[KINDS[letter]]
                )
                below = row == len(rows) - 1
                view.ax.tick_params(labelbottom=below)
                names(view.ax, x="x" if below else "", z="z" if letter == "E" else "")
            said.append(_row_words(picture, bottom, name, film, step))
    picture.alt = (
        f"Four tables for each objective; the symmetric KL of q and p is {'; '.join(said)}."
    )
    return picture


def _row_words(picture: style.Picture, bottom: float, name: str, film: TableFilm, step: int) -> str:
    """Write name and numbers of one row at its right; return its part of the sentence."""
    words = place(picture, 7.15, bottom, 1.8, 1.4, kind="blank")
    apart_by, information = film.apart[step], film.mixture_information[step]
    small: dict[str, Any] = {"fontsize": 10.5, "color": style.NOTE, "va": "center"}
    bold: dict[str, Any] = {"fontweight": "bold", "va": "center"}
    words.text(0, 0.92, name, fontsize=13, color=style.look(name).colour, **bold)
    words.text(-0.02, 0.62, number(apart_by, 2), fontsize=28, **bold)
    words.text(0, 0.36, "nats, SKL(q, p)", **small)
    words.text(0, 0.18, f"I in M {number(information, 2)}, E "
               f"{number(film.information['E'][step], 2)}", **small)  # fmt: skip
    words.text(0, 0.02, f"loss {number(film.loss[step], 2)}", **small)
    return f"{number(apart_by, 2)} nats under {name}"
