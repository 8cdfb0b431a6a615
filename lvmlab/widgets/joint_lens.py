"""The joint lens: a model, the target that an objective makes from the data, and where they differ.

To be noticed: learning is the orange outline moving onto the blue shape; what is still missing is
one number, KL(q || p).
"""

from collections.abc import Mapping
from typing import Any

import ipywidgets as W
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba

from lvmlab.plots import style
from lvmlab.plots.frames import heading, live, names, number, place, three, ticks
from lvmlab.plots.joints import STRIP, JointView, left_margin
from lvmlab.plots.lens import FORMULAS, MODEL, peaks
from lvmlab.plots.measure import Array, Grid
from lvmlab.widgets.panel import Panel
from lvmlab.widgets.player import begin, player
from lvmlab.widgets.recording import Film, films


def joint_lens(
    grid: Grid,
    recordings: Mapping[str, Any],
    variant: str = "variant",
    start: Mapping[str, Any] | None = None,
) -> Panel:
    """Make the live joint lens: model, target and difference, scrubbed over recorded trainings.

    `recordings` maps an objective's name to a `Recording` (or a mapping with its fields), or to a
    mapping from values of one more control, described by `variant`, to recordings. All share `grid`
    and their steps. Controls: `objective`, `variant` (where there is one), `step`; play, pause and
    one step at a time drive `step`. `start` sets controls by name. Raises `ValueError` for arrays
    that are no distributions on the grid and for recordings of different steps.
    """
    made, variants = films(grid, recordings)
    every = [film for choices in made.values() for film in choices.values()]
    with style.style():
        lens = LensPicture(grid, every)
    controls: dict[str, Any] = {
        "objective": W.Dropdown(
            options=list(made), description="objective", layout=W.Layout(width="220px")
        )
    }
    wide: dict[str, Any] = {
        "layout": W.Layout(width="280px"),
        "style": {"description_width": "auto"},
    }
    if variants:
        controls["variant"] = W.SelectionSlider(options=variants, description=variant, **wide)
    last = len(every[0].steps) - 1
    controls["step"] = W.IntSlider(0, min=0, max=last, description="step", readout=False, **wide)
    begin(controls, start)

    def draw(objective: str, step: int, variant: Any = None) -> str:
        choices = made[objective]
        if "variant" in controls:
            controls["variant"].disabled = None in choices
        return lens.show(objective, choices[None if None in choices else variant], step)

    return Panel(lens.picture, draw, extras=player(controls["step"]), **controls)


class LensPicture:
    """The picture of the lens with its moving marks; `show` puts one frame of one film on it.

    All scales come from all films, so that nothing but the marks moves; or they are given, as by
    `lens_scales`, together with the first and the last step of the traces.
    """

    def __init__(
        self,
        grid: Grid,
        every: list[Film],
        scales: Array | None = None,
        steps: tuple[float, float] | None = None,
    ) -> None:
        self.grid = grid
        self.scales = lens_scales(grid, every) if scales is None else scales
        self.picture = style.figure(9.0, 5.3)
        self.left = max(0.5, left_margin(grid))
        self.pitch = (9.14 - self.left) / 3
        shown, alone, apart = self.scales[:9].reshape(3, 3)
        self.model = self._view(0, "model", alone)
        self.target = self._view(1, "target", shown)
        self.gap = self._view(2, "gap", apart)
        above = STRIP[0] + STRIP[2]
        heading(self.model.ax, "Model", MODEL, style.P, above)
        self.title = heading(self.target.ax, " ", " ", above=above)
        heading(self.gap.ax, "Where they differ", "blue: more q; orange: more p", above=above)
        self.gap_name = self.gap.top.text(
            1.02, 0.1, "gap", transform=self.gap.top.transAxes, fontsize=11, fontweight="bold"
        )
        self._add_traces(every[0].steps if steps is None else np.asarray(steps))
        self._add_words()
        live(*self.title, self.gap_name)
        for view in (self.model, self.target, self.gap):
            view.set_live()

    def _view(self, column: int, kind: str, scale: Array) -> JointView:
        rectangle = (self.left + self.pitch * column, 2.35, self.pitch - 0.58, 1.85)
        view = JointView(self.picture, rectangle, self.grid, kind, *scale)
        names(view.ax, x="x", z="z" if column == 0 else "")
        view.ax.tick_params(labelleft=column == 0, left=column == 0)
        return view

    def _add_traces(self, steps: Array) -> None:
        self.kl_ax = place(self.picture, self.left, 0.55, self.pitch - 0.58, 0.85)
        self.information_ax = place(
            self.picture, self.left + self.pitch, 0.55, self.pitch - 0.58, 0.85
        )
        heading(self.kl_ax, "KL to the model, nats", above=0.06)
        heading(self.information_ax, "Information, nats", above=0.06)
        for ax, top in zip((self.kl_ax, self.information_ax), self.scales[9:], strict=True):
            _trace_axes(ax, steps, 1.08 * top)
        self.areas = PolyCollection([], linewidths=0, zorder=1)
        self.kl_ax.add_collection(self.areas, autolim=False)
        (self.kl,) = self.kl_ax.plot([], [], lw=2)
        (self.q_line,) = self.information_ax.plot([], [], lw=3.2, alpha=0.7, color=style.Q)
        (self.p_line,) = self.information_ax.plot([], [], lw=1.6, color=style.P)
        both = (self.kl_ax, self.information_ax)
        self.cursors = [ax.axvline(steps[0], color=style.INK, lw=1, zorder=0.5) for ax in both]
        self.beads = [
            ax.plot([], [], "o", ms=size, mew=0, color=colour, zorder=4)[0]
            for ax, size, colour in (
                (self.kl_ax, 6, style.INK),
                (self.information_ax, 8, style.Q),
                (self.information_ax, 5, style.P),
            )
        ]
        live(self.areas, self.kl, self.q_line, self.p_line, *self.cursors, *self.beads)

    def _add_words(self) -> None:
        """Add the one large number and the four small ones, each in the colour of its curve."""
        ax = place(self.picture, self.left + 2 * self.pitch, 0.1, 2.6, 1.75, kind="blank")
        small: dict[str, Any] = {"fontsize": 11, "fontweight": "bold", "va": "center"}
        self.big = ax.text(0, 0.82, "", fontsize=28, fontweight="bold", va="center")
        self.unit = ax.text(0, 0.57, "", fontsize=10.5, color=style.NOTE, va="center")
        self.data = ax.text(0, 0.38, "", color=style.NOTE, **small)
        self.rest = ax.text(0.44, 0.38, "", **small)
        self.q_words = ax.text(0, 0.19, "", color=style.Q, **small)
        self.p_words = ax.text(0.44, 0.19, "", color=style.P, **small)
        live(self.big, self.unit, self.data, self.rest, self.q_words, self.p_words)

    def show(self, name: str, film: Film, frame: int) -> str:
        """Show one frame; return the sentence that says what it shows."""
        q, p, colour = film.target[frame], film.model[frame], style.look(name).colour
        self.model.show(p=p)
        self.target.show(q=q, p=p, pairs=film.pairs_at(frame))
        self.gap.show(q=q, p=p)
        self.gap.show_cost(_finite(film.gap_at_x[frame], 0.0), colour)
        self.gap_name.set_color(colour)
        self.model.label.set_text(f"I = {number(film.p_information[frame], 2)} nats")
        self.target.label.set_text(f"I = {number(film.q_information[frame], 2)} nats")
        ceiling = f"ceiling log {film.ceiling}" if film.ceiling else ""
        self.target.note.set_text(ceiling)
        self.title[0].set(text=f"{name} target", color=colour)
        self.title[1].set_text(FORMULAS.get(name, ""))
        self._show_traces(film, frame, colour)
        return self._show_words(name, film, frame, colour, ceiling)

    def _show_traces(self, film: Film, frame: int, colour: str) -> None:
        t, now = film.steps, film.steps[frame]
        q_information = np.full(len(t), np.nan) if film.ceiling else film.q_information
        curves = (film.kl, q_information, film.p_information)
        lines = (self.kl, self.q_line, self.p_line)
        for line, bead, values in zip(lines, self.beads, curves, strict=True):
            line.set_data(t, _finite(values, np.nan))
            bead.set_data([now], _finite(values[frame : frame + 1], np.nan))
        self.kl.set_color(colour)
        total = np.stack([t, _finite(film.kl, 0.0)], -1)
        data = np.stack([t, _finite(film.misfit, 0.0)], -1)
        ground = data[::-1] * (1, 0)
        self.areas.set_verts([np.concatenate([data, ground]), np.concatenate([total, data[::-1]])])
        self.areas.set_facecolor([to_rgba(style.TRACK), to_rgba(colour, 0.28)])
        for cursor in self.cursors:
            cursor.set_xdata([now, now])

    def _show_words(self, name: str, film: Film, frame: int, colour: str, ceiling: str) -> str:
        kl, misfit, gap = film.kl[frame], film.misfit[frame], film.gap[frame]
        q_information, p_information = film.q_information[frame], film.p_information[frame]
        self.big.set_text(number(kl, 2))
        self.unit.set_text("nats, KL(q(x) || p(x))" if film.ceiling else "nats, KL(q || p)")
        self.data.set_text(
            "pairs: no finite gap" if film.ceiling else f"= {number(misfit, 2)} data"
        )
        self.rest.set(text="" if film.ceiling else f"+ {number(gap, 2)} gap", color=colour)
        self.q_words.set_text((ceiling and "I at ceiling") or f"I in q {number(q_information, 2)}")
        self.p_words.set_text(f"I in p {number(p_information, 2)}")
        apart = "" if film.ceiling else f" + gap {number(gap, 4)}"
        return (
            f"{name}, step {film.steps[frame]}: KL from target to model {number(kl, 4)} nats = "
            f"misfit of x {number(misfit, 4)}{apart}; information {number(q_information, 4)} nats "
            f"in q{ceiling and ', its ' + ceiling}, {number(p_information, 4)} in p."
        )


def lens_scales(grid: Grid, every: list[Film]) -> Array:
    """Return the largest values of films, (11,), which fix the scales of a lens.

    Peak, peak over x and over z of the target, the model and the difference; largest KL and
    information of the traces.
    """
    p_peak, *p_sides = peaks(grid, [film.model for film in every])
    heats = [film.target for film in every if film.pairs is None]
    peak = max([p_peak, *(float(heat.max()) for heat in heats)])
    _, *q_sides = peaks(grid, [film.target for film in every])
    sides = np.maximum(p_sides, q_sides)
    rows = grid.discrete_x or grid.discrete_z
    frames = [pair for f in every for pair in zip(f.target, f.model, strict=True)]
    apart = max(float(abs(q - p).max()) for q, p in frames)
    cost = max(float(_finite(film.gap_at_x, 0.0).max()) for film in every)
    alone = peak if rows else p_peak  # one orange map alone may use all its shades
    known = [film.q_information for film in every if not film.ceiling]
    curves = [film.kl for film in every], known + [film.p_information for film in every]
    tops = [max([0.05, *(float(_finite(c, 0.0).max()) for c in some)]) for some in curves]
    return np.array([peak, *sides, alone, *sides, apart or 1.0, cost or 1.0, 1.0, *tops])


def _trace_axes(ax: Axes, steps: Array, top: float) -> None:
    """Fix the limits of a trace for all curves it will ever show, and give it its ticks."""
    pad = 0.02 * max(float(np.ptp(steps)), 1.0)
    ax.set(xlim=(steps[0] - pad, steps[-1] + pad), ylim=(0, top))
    ends = [float(steps[0]), float(steps[-1])]
    ticks(ax, x=three(*ends) if len(steps) > 1 else ends[:1], y=[0.0, *three(0.0, top)[1:]])
    names(ax, x="step")


def _finite(values: Array, instead: float) -> Array:
    return np.where(np.isfinite(values), values, instead)
