"""The collapse dial of trained models: posteriors, reconstructions and what z knows about x.

To be noticed: the big number, and whether the ellipses ARE the dashed rings of the prior.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as W
import numpy as np
from matplotlib.collections import LineCollection
from numpy.typing import ArrayLike, NDArray

from lvmlab.plots import style
from lvmlab.plots.frames import ceiling as hatched
from lvmlab.plots.frames import halo, heading, live, names, number, place, three, ticks
from lvmlab.plots.planes import Density
from lvmlab.widgets.dial_films import DialFilm, DialRecording
from lvmlab.widgets.dial_marks import DialTable, MeterMarks, SpaceMarks
from lvmlab.widgets.panel import Panel
from lvmlab.widgets.player import begin, player

__all__ = ["DialRecording", "trained_dial", "trained_states"]


def trained_dial(
    recordings: Mapping[str, Any],
    x: ArrayLike,
    labels: ArrayLike,
    density: Density | tuple | ArrayLike | None = None,
    ceiling: tuple[float, str] | None = None,
    width_name: str = "hidden units",
    start: Mapping[str, Any] | None = None,
) -> Panel:
    """Make the dial over recorded trainings with two latents: objective, width, seed and step.

    `recordings` maps an objective's name to a `DialRecording` (or a mapping with its fields), or to
    a mapping from widths, described by `width_name`, to recordings. All share seeds and steps, and
    were recorded on the N rows of `x` (N, 2) with `labels` (N,), integers from 0 to 9; at most 130
    ellipses are drawn. `density` of the data is (x1, x2, values), or samples (K, 2) to be smoothed
    (default: x). `ceiling` is the largest value of the estimator and its name, such as
    (6.79, "psi(4000) - psi(5)").

    Controls: `objective`, `width` and `step` (where there are several) and `seed`; the last frame
    comes first, and `start` sets controls by name. Raises `ValueError` for arrays that do not fit.
    """
    table = DialTable(recordings, x, labels, density, ceiling)
    with style.style():
        dial = TrainedPicture(table)
    wide: dict[str, Any] = {
        "layout": W.Layout(width="240px"),
        "style": {"description_width": "auto"},
    }
    controls: dict[str, Any] = {
        "objective": W.Dropdown(
            options=table.objectives, description="objective", layout=W.Layout(width="220px")
        )
    }
    if len(table.widths) > 1:
        controls["width"] = W.SelectionSlider(options=table.widths, description=width_name, **wide)
    first = next(iter(table.films.values()))
    controls["seed"] = W.IntSlider(0, min=0, max=first.seeds - 1, description="seed", **wide)
    last = first.frames - 1
    step = W.IntSlider(last, min=0, max=last, description="step", readout=False, **wide)
    if last:
        controls["step"] = step
    begin(controls, start)

    def draw(objective: str, seed: int, width: Any = table.widths[0], step: int = last) -> str:
        return dial.show(objective, width, seed, step)

    return Panel(dial.picture, draw, extras=player(step) if last else (), **controls)


class TrainedPicture:
    """The picture of the dial with its moving marks; `show` puts one model on it.

    `steps` are the first and the last step of a trace of the training (default: those of films
    with several frames).
    """

    def __init__(self, table: DialTable, steps: tuple[float, float] | None = None) -> None:
        self.table = table
        first = next(iter(table.films.values()))
        if steps is None and first.frames > 1:
            steps = float(first.steps[0]), float(first.steps[-1])
        self.traced, low = steps is not None, 0.6 if steps is None else 2.0
        self.picture = style.figure(9.0, low + 3.3)
        self.marks = SpaceMarks(self.picture, table, (0.7, low), (3.95, low), 2.6)
        heading(self.marks.data, "Data space", "blue: data; orange: decoded")
        heading(self.marks.floor, "Latent space", "an ellipse: one posterior, 1 sd")
        named = self.marks.floor.texts  # the name of the rings stands over the ellipses
        live(self.marks.dots, self.marks.posteriors.marks, *self.marks.rings, *named)
        self.words = MeterMarks(self.picture, 6.8, low, 2.75, table)
        words = self.words
        live(words.name, words.big, words.bar, words.seeds, words.runs, words.active)
        if steps is not None:
            self._add_trace(*steps)

    def _add_trace(self, first: float, last: float) -> None:
        """Add the information along the training, of every run."""
        top = self.table.end
        self.trace = ax = place(self.picture, 0.7, 0.5, 8.1, 0.65)
        heading(ax, "Information along the training, nats: every run, this one thick")
        ax.set(xlim=(first, last), ylim=(min(0.0, -0.02 * top), 1.12 * top))
        ticks(ax, x=three(first, last), y=three(0, top))
        names(ax, x="step")
        if self.table.ceiling:
            hatched(ax, top, depth=0.12 * top)
        self.lines = LineCollection([], linewidths=0.7, alpha=0.6, zorder=2)
        ax.add_collection(self.lines, autolim=False)
        (self.mine,) = ax.plot([], [], lw=2.4, zorder=3)
        self.cursor = ax.axvline(first, color=style.INK, lw=1, zorder=1.8)  # above the band
        live(self.lines, self.mine, self.cursor)

    def show(self, objective: str, width: Any, seed: int, frame: int) -> str:
        """Show one frame of one seed; return the sentence that tells what it shows."""
        film, colour = self.table.films[objective, width], style.look(objective).colour
        runs = [(np.stack([film.steps, run], -1), colour) for run in film.information]
        said = "" if width is None else f" ({width})"
        return self.show_film(f"{objective}{said}, seed {seed}", objective, film, seed, frame, runs)

    def show_film(
        self,
        title: str,
        objective: str,
        film: DialFilm,
        seed: int,
        frame: int,
        runs: Sequence[tuple[NDArray[Any], str]] = (),
    ) -> str:
        """Show one frame of any film; `runs` are thin curves (T, 2) of step and nats, and colours.

        Returns the sentence that tells what it shows, beginning with `title`.
        """
        self.marks.show(film, seed, frame)
        self.words.show(objective, film, seed, frame)
        if self.traced:
            self.lines.set_segments([curve for curve, _ in runs])
            self.lines.set_color([colour for _, colour in runs])
            self.mine.set_data(film.steps, film.information[seed])
            self.mine.set_color(style.look(objective).colour)
            self.cursor.set_xdata([film.steps[frame]] * 2)
        return f"{title}, step {number(float(film.steps[frame]))}: {_told(film, seed, frame)}."


def trained_states(
    recordings: Mapping[str, Any],
    x: ArrayLike,
    labels: ArrayLike,
    show: Sequence[Any] | None = None,
    density: Density | tuple | ArrayLike | None = None,
    ceiling: tuple[float, str] | None = None,
    seed: int = 0,
    step: int = -1,
) -> style.Picture:
    """Draw two to four trained models: two as rows, three or four as columns, at one seed and step.

    `show` chooses models, each an objective's name or a pair (objective, width), default the first
    four objectives at the first width; `step` is the number of the frame. Other arguments as for
    `trained_dial`. To be noticed: the same networks, other ellipses, other numbers.
    """
    table = DialTable(recordings, x, labels, density, ceiling)
    wanted = [(n, table.widths[0]) for n in table.objectives][:4] if show is None else list(show)
    models = [(m, table.widths[0]) if isinstance(m, str) else tuple(m) for m in wanted]
    if not 1 <= len(models) <= 4 or not set(models) <= set(table.films):
        raise ValueError(
            f"show: expected one to four models among {list(table.films)}, got {models}"
        )
    draw = _as_rows if len(models) <= 2 else _as_columns
    with style.style():
        picture = draw(table, models, seed, step)
    told = (f"{name}, {_told(table.films[name, width], seed, step)}" for name, width in models)
    picture.alt = f"Ellipses of posteriors against the rings of the prior: {'; '.join(told)}."
    return picture


def _as_rows(table: DialTable, models: list, seed: int, step: int) -> style.Picture:
    picture = style.figure(9.0, 0.95 + 2.85 * len(models))
    for row, (name, width) in enumerate(models):
        low = 0.5 + 2.85 * (len(models) - 1 - row)
        ring = "prior, 1 and 2 sd" if row == 0 else ""
        marks = SpaceMarks(picture, table, (0.7, low), (3.95, low), 2.6, ring)
        marks.show(table.films[name, width], seed, step)
        if row == 0:
            heading(marks.data, "Data space", "blue: data; orange: decoded")
            heading(marks.floor, "Latent space", "an ellipse: one posterior, 1 sd")
        if row < len(models) - 1:
            for ax in (marks.data, marks.floor):
                ax.set_xlabel("")
                ax.tick_params(labelbottom=False)
        words = MeterMarks(picture, 6.8, low - 0.05, 2.65, table)
        words.show(name, table.films[name, width], seed, step)
    return picture


def _as_columns(table: DialTable, models: list, seed: int, step: int) -> style.Picture:
    picture = style.figure(9.0, 5.55)
    for column, (name, width) in enumerate(models):
        film, left = table.films[name, width], 0.7 + 2.1 * column
        ring = "prior" if column == 0 else ""
        marks = SpaceMarks(picture, table, (left, 3.0), (left, 0.75), 1.75, ring)
        marks.show(film, seed, step)
        now = film.information[:, step]
        spread = f"{number(float(now.min()), 1)} to {number(float(now.max()), 1)}"
        note = f"{film.seeds} seeds: {spread}" if film.seeds > 1 else ""
        heading(marks.data, name, note, style.look(name).colour)
        halo(
            marks.data.text(
                0.035, 0.035, f"I = {number(float(now[seed]), 1)} nats", fontsize=13,
                fontweight="bold", transform=marks.data.transAxes, zorder=6,
            )
        )  # fmt: skip
        for ax in (marks.data, marks.floor):
            if column:
                names(ax)
                ax.tick_params(left=False, labelleft=False)
    if table.ceiling:
        words = f"no reading can pass the ceiling {table.ceiling[1]} = {number(table.end, 1)} nats"
        picture.text(0.7 / 9, 0.12 / 5.55, words, fontsize=10, color=style.NOTE)
    return picture


def _told(film: DialFilm, seed: int, frame: int) -> str:
    now = film.information[:, frame]
    spread = f"{number(float(now.min()), 2)} to {number(float(now.max()), 2)}"
    return (
        f"{number(float(now[seed]), 2)} nats about x in z, "
        + (f"all {film.seeds} seeds {spread}, " if film.seeds > 1 else "")
        + f"{number(float(film.active[seed, frame]))} of 2 latents active"
    )
