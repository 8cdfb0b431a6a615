"""Estimators of information against a known one, and side by side on one model, under ceilings.

To be noticed: curves leave the exact line and flatten under their hatched ceilings.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from lvmlab.plots import style
from lvmlab.plots.curves import runs
from lvmlab.plots.frames import ceiling, halo, heading, names, number, place, three, ticks
from lvmlab.plots.measure import Array

FULL = style.ESTIMATORS[2]


class Curves(NamedTuple):
    """Checked readings of known informations (I,), by minibatches (S, I, M) and KSG (S, I, K)."""

    information: Array
    batch_sizes: Array
    ks: Array
    samples: int
    minibatch: Array
    ksg: Array

    def batch(self, size: int) -> Array:
        """Readings (S, I) in batches of one size; raises `ValueError` for one not recorded."""
        return self.minibatch[:, :, _index("batch_size", size, self.batch_sizes)]

    def neighbours(self, k: int) -> Array:
        """Readings (S, I) of KSG for one k; raises `ValueError` for one not recorded."""
        return self.ksg[:, :, _index("k", k, self.ks)]

    def ksg_ceiling(self, k: int) -> float:
        """The largest value of KSG, psi(N) - psi(k): a sum of 1/j from k to N - 1, in nats."""
        return float((1 / np.arange(k, self.samples)).sum())

    def at(self, information: float) -> int:
        """Find the recorded information nearest to a number of nats."""
        return int(np.abs(self.information - information).argmin())


class Column(NamedTuple):
    """One estimator at one information: its readings (S,) in nats, their ceiling and colour."""

    label: str
    values: ArrayLike
    ceiling: float
    colour: str


def check_curves(curves: Mapping[str, Any]) -> Curves:
    """Check what `lvmlab.diagnostics.estimators.estimator_curves` gives; `ValueError` if amiss."""
    missing = set(Curves._fields) - set(curves)
    if missing:
        raise ValueError(
            f"curves: expected {', '.join(Curves._fields)}, but {', '.join(sorted(missing))} is "
            "missing; try lvmlab.diagnostics.estimators.estimator_curves"
        )
    arrays = {n: np.asarray(curves[n], dtype=float) for n in Curves._fields if n != "samples"}
    made = Curves(samples=int(curves["samples"]), **arrays)
    known = len(made.information)
    for name, count in (("minibatch", len(made.batch_sizes)), ("ksg", len(made.ks))):
        values = getattr(made, name)
        if values.ndim != 3 or values.shape[1:] != (known, count) or not np.isfinite(values).all():
            raise ValueError(
                f"curves[{name!r}]: expected finite readings of shape (S, {known}, {count}), "
                f"got {values.shape}"
            )
    return made


@style.styled
def ruler_columns(
    ax: Axes, columns: Sequence[Column], top: float, exact: float | None = None
) -> None:
    """Draw one column an estimator: every reading, their mean with its number, the ceiling."""
    ax.set(xlim=(-0.6, len(columns) - 0.4), ylim=(0, top))
    ticks(ax, range(len(columns)), three(0, top), [column.label for column in columns])
    ax.tick_params(axis="x", length=0)
    if exact is not None:
        ax.axhline(min(exact, top), color=style.EXACT, lw=1.6, zorder=1)
    for position, (_, values, cap, colour) in enumerate(columns):
        v = np.asarray(values, dtype=float).ravel()
        if cap <= top:
            ceiling(ax, cap, position - 0.36, position + 0.36, depth=0.03 * top)
        spread = 0.3 * ((np.arange(len(v)) * 0.6180339887) % 1 - 0.5) if len(v) > 1 else [0.0]
        ax.plot(position + np.asarray(spread), v, "o", ms=3.9, mew=0, alpha=0.55, color=colour)
        mean = float(v.mean())
        ax.plot([position - 0.28, position + 0.28], [mean, mean], lw=3.2, color=colour, zorder=4)
        below = v.min() > 0.16 * top
        word = ax.annotate(
            number(mean, 1),
            (position, v.min() if below else v.max()),
            xytext=(0, -7 if below else 7),
            textcoords="offset points",
            ha="center",
            va="top" if below else "bottom",
            fontweight="bold",
            color=written(colour),
            zorder=5,
        )
        halo(word)


@style.styled
def rulers(readings: Mapping[str, Sequence[Sequence[Any]]]) -> style.Picture:
    """Draw what several estimators read on one to four models, each under its own ceiling.

    `readings` maps a model's name to its runs, and a run is a sequence of rows (estimator,
    information, ceiling, name of the ceiling) as `lvmlab.diagnostics.estimators` makes them; all
    runs have the same estimators. A row called "closed form" is drawn as the exact line. To be
    noticed: two models whose readings both touch a ceiling are not ranked by it. Raises
    `ValueError` for no or more than four models and for runs whose estimators differ.
    """
    if not 1 <= len(readings) <= 4:
        raise ValueError(f"readings: expected one to four models, got {len(readings)}")
    drawn = {name: _columns(name, list(rows)) for name, rows in readings.items()}
    caps = [c.ceiling for columns, _ in drawn.values() for c in columns]
    values = [np.max(np.asarray(c.values)) for columns, _ in drawn.values() for c in columns]
    top = float(np.ceil(1.05 * max([*values, *(cap for cap in caps if np.isfinite(cap))])))
    picture, said = style.figure(9.0, 3.5), []
    width = 8.35 / len(drawn)
    for place_, (name, (columns, exact)) in enumerate(drawn.items()):
        ax = place(picture, 0.6 + place_ * width, 0.5, width - 0.35, 2.35)
        ruler_columns(ax, columns, top, exact)
        ax.tick_params(labelleft=place_ == 0)
        names(ax, y="nats" if place_ == 0 else "")
        count = len(np.ravel(np.asarray(columns[0].values)))
        note = "grey: exact" if exact is not None else f"dots: {count} seeds" if count > 1 else ""
        heading(ax, name, note, style.look(name).colour)
        told = (f"{c.label} {number(float(np.mean(np.asarray(c.values))), 2)}" for c in columns)
        said.append(f"{name}: {', '.join(told)}")
    picture.alt = (
        f"Information in nats, each estimator under its hatched ceiling. {'; '.join(said)}."
    )
    return picture


def _columns(name: str, given: list) -> tuple[list[Column], float | None]:
    """Turn the rows of all runs of one model into columns, and find the exact value."""
    found = [[row[0] for row in run] for run in given]
    if not found or not found[0] or any(labels != found[0] for labels in found):
        raise ValueError(
            f"readings[{name!r}]: expected one or more runs with the same estimators; got "
            f"{' and '.join(', '.join(labels) for labels in found) or 'none'}"
        )
    exact = next((float(row[1]) for row in given[0] if row[0] == "closed form"), None)
    kept = [i for i, label in enumerate(found[0]) if label != "closed form"]
    batches = [i for i in kept if found[0][i].startswith("minibatch")]
    shades = dict(zip(batches, (style.ESTIMATORS[1:2] if len(batches) == 1 else style.ESTIMATORS)
                      * len(batches), strict=False))  # fmt: skip
    columns = []
    for i in kept:
        label = found[0][i]
        colour = style.INK if label.startswith("KSG") else shades.get(i, FULL)
        batch = label.removeprefix("minibatch, M = ")
        short = (
            f"M {batch}" if batch != label else "all" if "full" in label else label.split(",")[0]
        )
        values = [run[i][1] for run in given]
        columns.append(Column(short, values, float(given[0][i][2]), colour))
    return columns, exact


@style.styled
def estimator_states(
    curves: Mapping[str, Any],
    informations: Sequence[float] = (2, 7, 12),
    batch_sizes: Sequence[int] = (32, 512),
    k: int = 5,
) -> style.Picture:
    """Draw estimates against the exact information, and every run at up to three of its values.

    `curves` is what `lvmlab.diagnostics.estimators.estimator_curves` gives, with the full set as
    its largest batch; at most two smaller `batch_sizes` are drawn beside it. Raises `ValueError`
    for a batch size, k or count of informations that cannot be drawn.
    """
    known = check_curves(curves)
    if not 1 <= len(informations) <= 3 or not 1 <= len(batch_sizes) <= 2:
        raise ValueError(
            "informations and batch_sizes: expected 1 to 3 and 1 to 2 values, got "
            f"{len(informations)} and {len(batch_sizes)}"
        )
    picture, top = style.figure(9.0, 6.5), 10.0
    ax = place(picture, 0.65, 3.65, 5.8, 2.15)
    curve_axes(ax, known, top)
    heading(ax, "An estimator stops at its ceiling", curve_note(known))
    sizes = [*(m for m in batch_sizes if m < known.samples), known.samples]
    shades = (*style.ESTIMATORS[: len(sizes) - 1], FULL)
    ends: list[tuple[float, str, str]] = []
    for size, shade in zip(sizes, shades, strict=True):
        name = "all N" if size == known.samples else f"M = {size}"
        _one_curve(ax, known, known.batch(size), np.log(size), shade)
        ends.append((np.log(size), f"{name}: log {size} = {np.log(size):.2f}", shade))
    cap = known.ksg_ceiling(k)
    _one_curve(ax, known, known.neighbours(k), cap, style.INK, style.DASHED)
    ends.append((cap, f"KSG, k = {k}: {cap:.2f}", style.INK))
    heights = apart([height for height, _, _ in ends], 0.85)
    for height, (_, label, colour) in zip(heights, ends, strict=True):
        ax.annotate(
            label, (known.information[-1], height), xytext=(6, 0), textcoords="offset points",
            va="center", fontweight="bold", color=written(colour), annotation_clip=False,
        )  # fmt: skip
    _rows_below(picture, known, informations, sizes, shades, k, top)
    means = ", ".join(
        f"{number(float(known.batch(m)[:, -1].mean()), 2)} for M = {m}" for m in sizes
    )
    picture.alt = (
        f"Every estimate leaves the exact line and flattens under its ceiling: at an exact "
        f"{known.information[-1]:g} nats {means}, and "
        f"{number(float(known.neighbours(k)[:, -1].mean()), 2)} for KSG."
    )
    return picture


def _rows_below(
    picture: style.Picture, known: Curves, informations: Sequence[float], sizes: Sequence[int],
    shades: Sequence[str], k: int, top: float,
) -> None:  # fmt: skip
    """Draw the columns of all estimators at each information."""
    width = 8.3 / len(informations)
    for position, information in enumerate(informations):
        at = known.at(information)
        exact = float(known.information[at])
        ax = place(picture, 0.65 + position * width, 0.45, width - 0.35, 2.0)
        columns = [
            Column("all" if m == known.samples else f"M {m}", known.batch(m)[:, at], np.log(m), c)
            for m, c in zip(sizes, shades, strict=True)
        ]
        columns.append(Column("KSG", known.neighbours(k)[:, at], known.ksg_ceiling(k), style.INK))
        ruler_columns(ax, columns, top, exact if exact < top else None)
        ax.tick_params(labelleft=position == 0)
        names(ax, y="estimate, nats" if position == 0 else "")
        beyond = "grey: exact" if exact < top else "exact is beyond the axis"
        heading(ax, f"At {number(exact)} nats", beyond)


def curve_axes(ax: Axes, known: Curves, top: float) -> None:
    """Set up the axes of estimate against exact information, with the exact line."""
    first, last = float(known.information[0]), float(known.information[-1])
    ax.set(xlim=(first, last), ylim=(0, top))
    ticks(ax, x=[first, (first + last) / 2, last], y=three(0, top))
    names(ax, x="exact I(x; z), nats", y="estimate, nats")
    end = min(last, top)
    ax.plot([first, end], [first, end], color=style.EXACT, lw=1.6, zorder=0.4)
    ax.text(
        0.93 * end, 0.96 * end, "exact ", ha="right", va="center", fontsize=10, color=style.NOTE
    )
    meaning = "M: minibatches; InfoNCE\nwith the true posterior"
    ax.text(1.02, 0.01, meaning, transform=ax.transAxes, fontsize=10, color=style.NOTE)


def curve_note(known: Curves) -> str:
    """Say what the lines of the curves are."""
    return f"Gaussians, {known.samples:,} pairs; thin: {len(known.ksg)} runs, thick: their mean"


def _one_curve(
    ax: Axes, known: Curves, values: Array, cap: float, colour: str, dash: tuple = style.SOLID
) -> None:
    runs(ax, known.information, values, colour, dash)
    start = min(cap, float(known.information[-1]))
    ceiling(ax, cap, start, depth=0.3)


def written(colour: str) -> str:
    """Return the colour for words about a mark: the lightest shade is too pale to be read."""
    return style.ESTIMATORS[1] if colour == style.ESTIMATORS[0] else colour


def apart(heights: Sequence[float], step: float) -> list[float]:
    """Move heights up until any two are at least `step` apart, in their own order."""
    order = np.argsort(heights, kind="stable")
    moved, last = [0.0] * len(heights), -np.inf
    for i in order:
        last = max(float(heights[i]), last + step)
        moved[i] = last
    return moved


def _index(name: str, value: float, offered: Array) -> int:
    found = np.flatnonzero(offered == value)
    if not len(found):
        raise ValueError(
            f"{name}: expected one of {', '.join(f'{v:g}' for v in offered)}; got {value}"
        )
    return int(found[0])
