"""Pictures of categories found without labels: where log K goes, and what labels would be worth.

To be noticed: the blue part of a bar is all that z says; orange and grey are what it lacks.
"""

from collections.abc import Mapping
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from lvmlab.plots import style
from lvmlab.plots.curves import beside, runs
from lvmlab.plots.frames import ceiling, heading, live, names, number, place, three, ticks
from lvmlab.plots.measure import Array

PARTS = ("information", "KL to even", "indecision")
INKS = (style.Q, style.P, "#B9BEC6")  # what z says, what the prior asks for in vain, what is unsure


class Split(NamedTuple):
    """Log K in three parts, nats: they add up to log K."""

    information: float
    aggregated_kl: float
    indecision: float


def split_log_k(posteriors: ArrayLike) -> Split:
    """Split log K by posteriors (N, K): I, the aggregated KL to even categories, and E H(k|x).

    Raises `ValueError` for another shape, negative entries, and rows that do not sum to 1.
    """
    table = np.asarray(posteriors, dtype=float)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all() or table.min() < 0:
        raise ValueError(
            f"posteriors: expected finite probabilities of shape (N, K), got shape {table.shape}"
        )
    if abs(table.sum(1) - 1).max() > 1e-4:
        raise ValueError(
            f"posteriors: expected rows that sum to 1, got sums from {table.sum(1).min():.4g} to "
            f"{table.sum(1).max():.4g}; are these logarithms?"
        )
    mean, within = _entropy(table.mean(0)), float(_entropy(table).mean())
    return Split(float(mean) - within, float(np.log(table.shape[1]) - mean), within)


class SplitMarks:
    """Upright bars of the three parts, blue, orange and grey, under the ceiling log K."""

    def __init__(self, ax: Axes, categories: int, bars: int = 1, thick: float = 0.6) -> None:
        self.ax, self.top = ax, float(np.log(categories))
        ax.set(xlim=(-0.6, bars - 0.4), ylim=(0, 1.12 * self.top))
        halves = [0, self.top / 2, self.top]
        ticks(ax, x=[], y=halves, y_labels=[number(v, 2) for v in halves])
        ceiling(ax, self.top, depth=0.06 * self.top)
        self.parts = [
            [
                Rectangle((bar - thick / 2, 0), thick, 0, facecolor=ink, edgecolor="white", lw=0.8)
                for ink in INKS
            ]
            for bar in range(bars)
        ]
        for part in chain(*self.parts):
            part.set_zorder(2)
            ax.add_patch(part)

    def show(self, split: ArrayLike, bar: int = 0) -> None:
        """Set the parts of one bar."""
        sizes = np.asarray(split, dtype=float)
        for part, start, size in zip(self.parts[bar], np.cumsum(sizes) - sizes, sizes, strict=True):
            part.set(y=start, height=max(float(size), 0.0))

    def set_live(self) -> None:
        """Mark the bars as moving parts."""
        live(*chain(*self.parts))


@style.styled
def split_bars(
    splits: Mapping[str, ArrayLike], categories: int, notes: Mapping[str, str] | None = None
) -> style.Picture:
    """Draw log K in three parts for one to eight systems: each (3,), or (S, 3) for S seeds.

    A bar shows the means; dots at the end of the blue part are the seeds. `notes` stand below the
    names, which may have two lines. Raises `ValueError` for parts that do not add up to log K.
    """
    if not 1 <= len(splits) <= 8:
        raise ValueError(f"splits: expected one to eight systems, got {len(splits)}")
    checked = {name: _checked(name, value, categories) for name, value in splits.items()}
    picture = style.figure(9.0, 3.7)
    ax = place(picture, 0.75, 0.75, 6.7, 2.2)
    marks = SplitMarks(ax, categories, len(checked))
    labels = [f"{name}\n{(notes or {}).get(name, '')}".rstrip() for name in checked]
    ticks(ax, x=list(range(len(checked))), x_labels=labels)
    ax.tick_params(axis="x", length=0)
    names(ax, y="nats")
    for bar, seeds in enumerate(checked.values()):
        marks.show(seeds.mean(0), bar)
        jitter = 0.3 * ((np.arange(len(seeds)) * 0.6180339887) % 1 - 0.5)
        if len(seeds) > 1:
            ax.plot(bar + jitter, seeds[:, 0], "o", ms=3.4, mew=0, color=style.INK, zorder=4)
    heading(ax, f"Where log {categories} goes", _seeds_of([len(s) for s in checked.values()]))
    legend(picture, ax, categories)
    said = "; ".join(
        f"{' '.join(name.split())} " + ", ".join(number(float(v), 2) for v in seeds.mean(0))
        for name, seeds in checked.items()
    )
    picture.alt = f"Information, aggregated KL and indecision share log {categories}: {said} nats."
    return picture


def _seeds_of(counts: list[int]) -> str:
    """What a bar shows when the systems have so many seeds each."""
    many = sorted({count for count in counts if count > 1})
    if not many:
        return "one run each"
    span = f"{many[0]} seeds" if len(many) == 1 else f"{many[0]} to {many[-1]} seeds"
    others = "; bars without dots: one model" if min(counts) == 1 else ""
    return f"means of {span}; dots: the information of each{others}"


def legend(picture: style.Picture, ax: Axes, categories: int) -> list[Any]:
    """Name the parts at the right of a bar, from above; return the words, to be updated."""
    word: dict[str, Any] = {"transform": ax.transAxes, "fontsize": 10.5, "va": "center"}
    cap = f"log {categories} = {number(float(np.log(categories)), 2)}"
    ax.text(1.06, 1 / 1.12 + 0.02, cap, color=style.NOTE, **(word | {"fontsize": 10}))
    inks = (*INKS[:2], style.NOTE)
    return [
        ax.text(1.06, 0.62 - 0.16 * row, PARTS[2 - row], color=inks[2 - row], weight="bold", **word)
        for row in range(3)
    ][::-1]


@style.styled
def label_curves(
    counts: ArrayLike,
    curves: Mapping[str, ArrayLike],
    levels: Mapping[str, ArrayLike],
    chance: float | None = None,
) -> style.Picture:
    """Draw accuracy against labelled rows, beside what needs no labels at all.

    counts (L,) increase, on a logarithmic axis; curves maps up to four names to percentages (S, L);
    levels maps names to percentages (S,) or one number, drawn as level lines with a dot for each
    seed at the left. chance: percent, hatched. Raises `ValueError` for shapes that disagree.
    """
    sizes = np.asarray(counts, dtype=float)
    drawn = {name: np.atleast_2d(np.asarray(v, dtype=float)) for name, v in curves.items()}
    flat = {name: np.ravel(np.asarray(v, dtype=float)) for name, v in levels.items()}
    if sizes.ndim != 1 or len(sizes) < 2 or (np.diff(sizes) <= 0).any() or sizes[0] <= 0:
        raise ValueError(f"counts: expected two or more increasing numbers above 0, got {sizes}")
    for name, value in drawn.items():
        if value.shape[1:] != sizes.shape:
            raise ValueError(f"{name}: expected (S, {len(sizes)}), got {value.shape}")
    everything = np.concatenate([v.ravel() for v in (*drawn.values(), *flat.values())])
    low = min(float(everything.min()), chance if chance is not None else 100.0)
    bottom, top = max(0.0, low - 6), min(100.0, float(everything.max()) + 4)
    picture = style.figure(9.0, 3.8)
    ax = place(picture, 0.75, 0.62, 6.0, 2.4)
    ax.set(xscale="log", xlim=(0.8 * sizes[0], sizes[-1]), ylim=(bottom, top))
    ax.minorticks_off()
    shown = [sizes[0], sizes[len(sizes) // 2], sizes[-1]]
    ticks(ax, x=shown, y=three(bottom, top), x_labels=[number(v) for v in shown])
    names(ax, x="labelled texts", y="accuracy, percent")
    if chance is not None:
        ceiling(ax, chance, depth=chance - bottom, floor=True)
    ends: dict[str, tuple[float, str]] = {}
    for name, value in flat.items():
        colour, dash, marker = style.look(name)
        ax.plot([0.8 * sizes[0], sizes[-1]], [value.mean()] * 2, color=colour, ls=dash, zorder=2)
        ax.plot([0.85 * sizes[0]] * len(value), value, marker, ms=3.9, mew=0, alpha=0.55,
                color=colour, zorder=3)  # fmt: skip
        ends[f"{name} {number(float(value.mean()), 1)}"] = (float(value.mean()), colour)
    for (name, value), dash in zip(
        drawn.items(), (style.SOLID, style.DOTTED, style.DASHED, style.SOLID), strict=False
    ):
        runs(ax, sizes, value, style.INK, dash)
        mean = float(value.mean(0)[-1])
        ends[f"{name} {number(mean, 1)}"] = (mean, style.INK)
    beside(ax, ends)
    below = "; hatched: below chance" * (chance is not None)
    heading(
        ax, "What are labels worth?", f"level lines need none; dots and thin lines: seeds{below}"
    )
    picture.alt = "Accuracy against labelled texts: " + ", ".join(ends) + " percent at the right."
    return picture


def _entropy(probabilities: Array) -> Any:
    safe = np.where(probabilities > 0, probabilities, 1.0)
    return -(probabilities * np.log(safe)).sum(-1)


def _checked(name: str, value: ArrayLike, categories: int) -> Array:
    split = np.atleast_2d(np.asarray(value, dtype=float))
    if (
        split.ndim != 2
        or split.shape[1] != 3
        or abs(split.sum(1) - np.log(categories)).max() > 1e-4
    ):
        raise ValueError(
            f"splits[{name!r}]: expected information, aggregated KL and indecision that add up to "
            f"log {categories} = {np.log(categories):.4f}, of shape (3,) or (S, 3), got "
            f"{np.array2string(split, precision=4, threshold=12)}"
        )
    return split
