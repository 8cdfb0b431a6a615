"""Two representations side by side: correlations, the matching, scores over what chance scores.

To be noticed: strokes far apart under "matched" that meet under CCA: the alignment forgives.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.image import AxesImage
from matplotlib.text import Text
from numpy.typing import ArrayLike

from lvmlab.plots import style
from lvmlab.plots.curves import runs
from lvmlab.plots.frames import ceiling, halo, heading, names, number, place, three, ticks

WORDS = 5  # columns up to which a matched cell carries its number
Series = Mapping[str, ArrayLike]


class CorrelationMarks:
    """A table of signed correlations on unit axes, with ink boxes around the matched cells."""

    def __init__(self, ax: Axes) -> None:
        ax.set(xlim=(0, 1), ylim=(0, 1))
        ax.spines[:].set_visible(True)
        ticks(ax, x=(), y=())
        self.image: AxesImage = ax.imshow(
            np.zeros((1, 1)), cmap=style.lvm_gap, vmin=-1, vmax=1, origin="lower",
            extent=(0, 1, 0, 1), aspect="auto", zorder=1,
        )  # fmt: skip
        self.boxes = PolyCollection([], facecolors="none", edgecolors=style.INK, zorder=3)
        ax.add_collection(self.boxes, autolim=False)
        middle: dict[str, Any] = {"ha": "center", "va": "center", "fontweight": "bold", "zorder": 4}
        self.words: list[Text] = [ax.text(0, 0, "", fontsize=10, **middle) for _ in range(WORDS)]

    def show(self, table: ArrayLike, matching: ArrayLike) -> None:
        """Show correlations (D, E), row i from below, and the (P, 2) cells that were paired."""
        values, pairs = np.asarray(table, dtype=float), np.asarray(matching, dtype=int)
        if values.ndim != 2 or pairs.ndim != 2 or pairs.shape[1:] != (2,):
            raise ValueError(
                "table and matching: expected (D, E) correlations and (P, 2) cells, got shapes "
                f"{values.shape} and {pairs.shape}"
            )
        high, wide = values.shape
        self.image.set_data(values)
        corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
        cells = (pairs[:, None, ::-1] + corners) / (wide, high)
        self.boxes.set_verts(list(cells))
        few = max(high, wide) <= WORDS
        self.boxes.set_linewidth(2.6 if few else 0.9)
        for word in self.words:
            word.set_text("")
        for word, (i, j) in zip(self.words, pairs if few else (), strict=False):
            value = float(values[i, j])
            text = f"{'+' if value >= 0 else ''}{number(value, 2)}"
            word.set(text=text, position=((j + 0.5) / wide, (i + 0.5) / high))
            word.set_color("white" if abs(value) > 0.55 else style.INK)


@style.styled
def score_columns(
    ax: Axes,
    columns: Mapping[str, Series | ArrayLike],
    floors: Mapping[str, float] | float | None = None,
    colours: Mapping[str, str] | None = None,
    reference: tuple[float, str] | None = None,
) -> None:
    """Draw scores between 0 and 1: every run a dot, a stroke for their mean, chance hatched.

    `columns` maps a name under the axis to runs (S,), or to several series of runs by name.
    `floors` is what chance scores, for all columns or by name; `reference` a score and its name,
    such as that of the raw data. `colours` maps a column (or a series) to its ink. Raises
    `ValueError` for a score outside 0 to 1 and for no columns.
    """
    if not columns:
        raise ValueError("columns: expected at least one setting with its scores, got none")
    ax.set(xlim=(-0.55, len(columns) - 0.45), ylim=(0, 1.06))
    ticks(ax, range(len(columns)), (0, 0.5, 1), list(columns))
    ax.tick_params(axis="x", length=0)
    if reference:
        ax.axhline(reference[0], color=style.EXACT, lw=1.6, ls=style.DASHED, zorder=1)
        ax.annotate(
            reference[1], (ax.get_xlim()[1], reference[0]), xytext=(5, 0), fontsize=10,
            textcoords="offset points", va="center", color=style.NOTE, annotation_clip=False,
        )  # fmt: skip
    for position, (name, given) in enumerate(columns.items()):
        floor = floors.get(name) if isinstance(floors, Mapping) else floors
        if floor:
            ceiling(ax, floor, position - 0.45, position + 0.45, depth=floor, floor=True)
        series = dict(given) if isinstance(given, Mapping) else {name: given}
        for i, (each, values) in enumerate(series.items()):
            ink = (colours or {}).get(each, style.INK)
            _series(ax, position + 0.3 * (i - (len(series) - 1) / 2), each, values, ink)


def _series(ax: Axes, at: float, name: str, values: ArrayLike, ink: str) -> None:
    """Draw the runs of one setting, their mean, and its number on the side that is free."""
    v = np.asarray(values, dtype=float).ravel()
    if not len(v) or not ((v >= 0) & (v <= 1 + 1e-9)).all():
        raise ValueError(f"columns[{name!r}]: expected scores between 0 and 1, got {v}")
    jitter = 0.16 * ((np.arange(len(v)) * 0.6180339887) % 1 - 0.5) if len(v) > 1 else np.zeros(1)
    if len(v) > 1:
        ax.plot(at + jitter, v, "o", ms=3.9, mew=0, alpha=0.55, color=ink, zorder=3)
    mean = float(v.mean())
    ax.plot([at - 0.14, at + 0.14], [mean, mean], lw=3.2, color=ink, zorder=4)
    below = v.min() > 0.14
    word = ax.annotate(
        number(mean, 2), (at, v.min() if below else v.max()), xytext=(0, -6 if below else 6),
        textcoords="offset points", ha="center", va="top" if below else "bottom",
        fontweight="bold", color=ink, zorder=5,
    )  # fmt: skip
    halo(word, 3.0)


@style.styled
def scores(
    panels: Mapping[str, Mapping[str, Series | ArrayLike]],
    floors: Mapping[str, Mapping[str, float] | float] | None = None,
    notes: Mapping[str, str] | None = None,
    colours: Mapping[str, str] | None = None,
    references: Mapping[str, tuple[float, str]] | None = None,
) -> style.Picture:
    """Draw one to three panels of MCC scores, each over its hatched floor of chance.

    `panels` maps a title to its columns, drawn by `score_columns`; `floors`, `notes` (a grey line
    each) and `references` go by title. To be noticed: how far a stroke stands above the hatch and
    above the dashed line, and whether the dots of two columns overlap. Raises `ValueError` for
    another number of panels and as `score_columns` does.
    """
    if not 1 <= len(panels) <= 3:
        raise ValueError(f"panels: expected one to three, got {len(panels)}")
    counts = [max(len(columns), 1) for columns in panels.values()]
    picture, said = style.figure(9.0, 3.7), []
    edge = 0.75 if references else 0.15
    width = (9.0 - 0.55 - len(panels) * (edge + 0.15)) / sum(counts)
    left = 0.55
    for (title, columns), count in zip(panels.items(), counts, strict=True):
        ax = place(picture, left, 0.45, width * count, 2.5)
        score_columns(
            ax, columns, (floors or {}).get(title), colours, (references or {}).get(title)
        )
        heading(ax, title, (notes or {}).get(title, ""))
        ax.tick_params(labelleft=left == 0.55)
        names(ax, y="MCC" if left == 0.55 else "")
        left += width * count + edge + 0.15
        told = (f"{name} {_means(given)}" for name, given in columns.items())
        said.append(f"{title}: {', '.join(told)}")
    picture.alt = f"Mean MCC over the hatched floor of chance. {'; '.join(said)}."
    return picture


def _means(given: Series | ArrayLike) -> str:
    series = given.values() if isinstance(given, Mapping) else [given]
    return " and ".join(number(float(np.mean(np.asarray(v))), 2) for v in series)


@style.styled
def flattery(
    dims: ArrayLike,
    in_sample: ArrayLike,
    held_out: ArrayLike,
    exact: tuple[ArrayLike, ArrayLike] | None = None,
    note: str = "",
) -> style.Picture:
    """Draw what CCA makes of noise against the number of dimensions, in sample and held out.

    `dims` (K,); `in_sample` and `held_out` (S, K) are scores of independent representations;
    `exact` are places and values of the law they should follow. To be noticed: the score in sample
    rises with the dimensions although nothing is shared; held out it stays at its floor.
    """
    d = np.asarray(dims, dtype=float)
    inside, outside = (np.atleast_2d(np.asarray(v, dtype=float)) for v in (in_sample, held_out))
    if inside.shape[1:] != d.shape or outside.shape[1:] != d.shape:
        raise ValueError(
            f"in_sample and held_out: expected (S, {len(d)}) scores, one for each of dims, got "
            f"{inside.shape} and {outside.shape}"
        )
    picture = style.figure(9.0, 3.6)
    ax = place(picture, 0.65, 0.6, 6.4, 2.3)
    ax.set(xlim=(d[0], d[-1]), ylim=(0, 1.02))
    ticks(ax, x=three(d[0], d[-1]), y=(0, 0.5, 1))
    names(ax, x="dimensions of either side", y="MCC after CCA")
    heading(ax, "What CCA makes of pure noise", note)
    if exact is not None:
        ax.plot(*(np.asarray(v) for v in exact), color=style.EXACT, lw=5, zorder=1)
    runs(ax, d, inside, style.INK)
    runs(ax, d, outside, style.INK, style.DASHED)
    bold: dict[str, Any] = {"xytext": (8, 0), "textcoords": "offset points", "va": "center"}
    for label, value in (("in sample", inside[:, -1]), ("held out", outside[:, -1])):
        text = f"{label}: {number(float(value.mean()), 2)}"
        ax.annotate(text, (d[-1], value.mean()), fontweight="bold", annotation_clip=False, **bold)
    if exact is not None:
        words = "wide grey: law of Wachter"
        ax.text(0.02, 0.98, words, transform=ax.transAxes, va="top", fontsize=10, color=style.NOTE)
    picture.alt = (
        f"Independent representations, MCC after CCA: in sample it rises from "
        f"{number(float(inside[:, 0].mean()), 2)} at {number(float(d[0]))} dimensions to "
        f"{number(float(inside[:, -1].mean()), 2)} at {number(float(d[-1]))}; held out it ends at "
        f"{number(float(outside[:, -1].mean()), 2)}."
    )
    return picture


@style.styled
def bound_against_score(
    panels: Mapping[str, Series], name: str = "ELBO, nats", colours: Sequence[str] = ()
) -> style.Picture:
    """Scatter MCC over a bound, one dot a run, in one to three panels of named groups.

    `panels` maps a title to groups, each (S, 2) of bound and MCC. To be noticed: a group that lies
    to the right of another need not lie above it.
    """
    if not 1 <= len(panels) <= 3:
        raise ValueError(f"panels: expected one to three, got {len(panels)}")
    inks, picture = list(colours) or list(style.FEW_CLASSES), style.figure(9.0, 3.6)
    width, said = 7.4 / len(panels), []
    every = [np.asarray(v, dtype=float) for groups in panels.values() for v in groups.values()]
    if not every or any(v.ndim != 2 or v.shape[1] != 2 for v in every):
        raise ValueError("panels: expected groups of shape (S, 2), bound and MCC of each run")
    for place_, (title, groups) in enumerate(panels.items()):
        ax = place(picture, 0.6 + place_ * (width + 0.1), 0.6, width - 0.45, 2.3)
        v = {key: np.asarray(each, dtype=float) for key, each in groups.items()}
        low, high = (f(np.concatenate(list(v.values()))[:, 0]) for f in (np.min, np.max))
        pad = 0.08 * float(high - low) or 0.5
        ax.set(xlim=(low - pad, high + pad), ylim=(0, 1.06))
        ticks(ax, x=three(*ax.get_xlim()), y=(0, 0.5, 1))
        names(ax, x=name, y="MCC" if place_ == 0 else "")
        ax.tick_params(labelleft=place_ == 0)
        heading(ax, title)
        for ink, (key, runs_) in zip(inks, v.items(), strict=False):
            ax.plot(*runs_.T, "o", ms=5, mew=0, alpha=0.75, color=ink, zorder=3)
            if place_ == len(panels) - 1:
                ax.text(1.06, 0.95 - 0.1 * list(v).index(key), key, color=ink, fontweight="bold",
                        transform=ax.transAxes, va="top")  # fmt: skip
            said.append(f"{title}, {key}: {number(float(runs_[:, 0].mean()), 2)} and "
                        f"{number(float(runs_[:, 1].mean()), 2)}")  # fmt: skip
    picture.alt = f"Mean bound and mean MCC of each group. {'; '.join(said)}."
    return picture


@style.styled
def rotation_cost(
    degrees: ArrayLike, panels: Mapping[str, Series], notes: Mapping[str, str] | None = None
) -> style.Picture:
    """Draw what a likelihood loses when the latents are turned, in one or two panels.

    `degrees` (T,); `panels` maps a title to curves (T,) in nats, all on one scale, the second one
    of a panel dashed. To be noticed: where a curve is flat the data do not choose the axes.
    """
    if not 1 <= len(panels) <= 2:
        raise ValueError(f"panels: expected one or two, got {len(panels)}")
    t = np.asarray(degrees, dtype=float)
    every = [np.asarray(v, dtype=float) for curves in panels.values() for v in curves.values()]
    if not every or any(v.shape != t.shape for v in every):
        raise ValueError(f"panels: expected curves of shape ({len(t)},), one value for each angle")
    top, said, picture = max(float(v.max()) for v in every), [], style.figure(9.0, 3.4)
    for place_, (title, curves) in enumerate(panels.items()):
        ax = place(picture, 0.7 + 4.0 * place_, 0.6, 3.3, 2.1)
        ax.set(xlim=(t[0], t[-1]), ylim=(-0.03 * top, 1.2 * top))
        ticks(ax, x=(t[0], (t[0] + t[-1]) / 2, t[-1]), y=three(0, top))
        names(ax, x="turn of the latents, degrees", y="" if place_ else "loss, nats")
        ax.tick_params(labelleft=not place_)
        heading(ax, title, (notes or {}).get(title, ""))
        for (name, values), dash in zip(curves.items(), (style.SOLID, style.DASHED), strict=False):
            runs(ax, t, np.asarray(values, dtype=float), style.INK, dash)
            if place_ == len(panels) - 1:
                continue
            peak = float(np.max(np.asarray(values, dtype=float)))
            ax.annotate(name, (t[len(t) // 2], peak), xytext=(0, 5), textcoords="offset points",
                        ha="center", fontweight="bold")  # fmt: skip
        told = (f"{n} up to {number(float(np.max(np.asarray(v))), 2)}" for n, v in curves.items())
        said.append(f"{title}: {', '.join(told)} nats")
    picture.alt = f"What a turn of the latents costs. {'; '.join(said)}."
    return picture
