"""Curves, strokes, meters and bars: every run is on the page, the mean is the thick stroke.

To be noticed in each: where the runs spread, and where they stop at a ceiling.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from numpy.typing import ArrayLike

from lvmlab.plots import style
from lvmlab.plots.frames import ceiling, heading, names, number, place, three, ticks
from lvmlab.plots.measure import Array


@style.styled
def runs(
    ax: Axes,
    x: ArrayLike,
    y: ArrayLike,
    colour: str = style.INK,
    dash: tuple = style.SOLID,
    label: str = "",
) -> Line2D:
    """Draw each run as a thin line and their mean as a thick one; return the mean's line.

    `y` is (T,) for one run or (S, T) for S seeds; `label` stands at the right end of the mean.
    """
    t, values = np.asarray(x), np.atleast_2d(np.asarray(y, dtype=float))
    if values.ndim != 2 or values.shape[1:] != t.shape:
        raise ValueError(
            f"y: expected shape ({len(t)},) or (S, {len(t)}) as x has, got {np.shape(y)}"
        )
    if len(values) > 1:
        ax.plot(t, values.T, color=colour, lw=0.5, alpha=0.45, zorder=2)
    (line,) = ax.plot(t, values.mean(0), color=colour, lw=2.4, ls=dash, zorder=3)
    if label:
        beside(ax, {label: (float(values.mean(0)[-1]), colour)}, float(t[-1]))
    return line


@style.styled
def beside(ax: Axes, labels: Mapping[str, tuple[float, str]], x: float | None = None) -> list[Text]:
    """Write names at the right of their curves: `labels` maps a name to its height and colour.

    Names that would touch are pushed apart; call it when the axis limits are set.
    """
    x = ax.get_xlim()[1] if x is None else x
    low, high = ax.get_ylim()
    inches = ax.get_window_extent().height / ax.figure.dpi
    step = 14 / 72 / inches * (high - low)
    order = sorted(labels, key=lambda name: labels[name][0])
    heights: list[float] = []
    for name in order:
        heights.append(max(labels[name][0], heights[-1] + step if heights else -np.inf))
    excess = heights[-1] - max(labels[order[-1]][0], high - step / 2) if heights else 0.0
    shift = max(0.0, excess)
    words: dict[str, Any] = {
        "xytext": (6, 0),
        "textcoords": "offset points",
        "annotation_clip": False,
    }
    return [
        ax.annotate(
            name,
            (x, y - shift),
            va="center",
            fontsize=11,
            fontweight="bold",
            color=labels[name][1],
            **words,
        )
        for name, y in zip(order, heights, strict=True)
    ]


@style.styled
def strokes(
    ax: Axes, position: float, values: ArrayLike, colour: str = style.INK, decimals: int | None = 2
) -> None:
    """Draw every run of one setting as a dot, and their mean as a thick stroke with its number.

    `values` is (S,). Call it when the axis limits are set; the jitter is even, not random.
    """
    v = np.asarray(values, dtype=float).ravel()
    if not len(v) or not np.isfinite(v).all():
        raise ValueError(f"values: expected at least one finite number, got {v}")
    jitter = 0.32 * ((np.arange(len(v)) * 0.6180339887) % 1 - 0.5) if len(v) > 1 else np.zeros(1)
    ax.plot(position + jitter, v, "o", ms=3.9, mew=0, alpha=0.55, color=colour, zorder=3)
    mean = float(v.mean())
    ax.plot([position - 0.28, position + 0.28], [mean, mean], lw=3.2, color=colour, zorder=4)
    if decimals is not None:
        ax.annotate(
            number(mean, decimals),
            (position, v.min()),
            xytext=(0, -7),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=11,
            fontweight="bold",
            color=colour,
        )


@style.styled
def exact(ax: Axes, x: ArrayLike, y: ArrayLike, label: str = "exact") -> Line2D:
    """Draw the exact answer under everything, grey and named."""
    (line,) = ax.plot(x, y, color=style.EXACT, lw=1.6, zorder=1)
    if label:
        t, v = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        ax.annotate(
            label, (t[-1], v[-1]), xytext=(6, 0), textcoords="offset points", va="center",
            fontsize=10, color=style.NOTE, annotation_clip=False,
        )  # fmt: skip
    return line


@style.styled
def density(ax: Axes, x: ArrayLike, q: ArrayLike | None = None, p: ArrayLike | None = None) -> None:
    """Draw densities over x: q as a blue area, p as an orange line."""
    if q is not None:
        ax.fill_between(
            np.asarray(x), np.asarray(q, dtype=float), color=style.Q, alpha=0.85, lw=0, zorder=1
        )
    if p is not None:
        ax.plot(np.asarray(x), np.asarray(p, dtype=float), color=style.P, lw=2, zorder=3)


@style.styled
def meter(
    ax: Axes,
    value: float,
    end: float,
    colour: str,
    label: str = "",
    seeds: ArrayLike | None = None,
    at: float = 0.0,
    thick: float = 0.5,
) -> Rectangle:
    """Draw one horizontal bar on its track: hatched end at the ceiling, a tick for every seed.

    `label` names the ceiling, such as "ceiling log 2000 = 7.6"; without it the track just ends. Set
    the limits of the axes to (0, 1.06 end) first.
    """
    if not end > 0:
        raise ValueError(f"end: expected a positive ceiling, got {end}")
    ax.add_patch(Rectangle((0, at - thick / 2), end, thick, color=style.TRACK, lw=0, zorder=1))
    bar = Rectangle(
        (0, at - thick / 2), float(np.clip(value, 0, end)), thick, color=colour, lw=0, zorder=2
    )
    ax.add_patch(bar)
    for seed in [] if seeds is None else np.asarray(seeds, dtype=float).ravel():
        ax.plot(
            [seed, seed], [at - 0.7 * thick, at + 0.7 * thick], color=style.INK, lw=1.6, zorder=3
        )
    if label:
        band = Rectangle(
            (end, at - 0.8 * thick), 0.05 * end, 1.6 * thick, facecolor=style.HATCH_GROUND,
            edgecolor=style.AXIS, hatch="/////", lw=0, clip_on=False, zorder=1.5,
        )  # fmt: skip
        ax.add_patch(band)
        ax.plot(
            [end, end], [at - 0.8 * thick, at + 0.8 * thick], color=style.NOTE, lw=1.2, zorder=2
        )
        ax.text(
            end * 1.05, at - 1.1 * thick, label, ha="right", va="top", fontsize=10, color=style.NOTE
        )
    return bar


@style.styled
def split_bar(
    ax: Axes, at: float, parts: Sequence[float], colours: Sequence[str], thick: float = 0.42
) -> list[Rectangle]:
    """Draw one bar of parts end to end, each in its ink: rate = information + KL, say."""
    if len(parts) != len(colours):
        raise ValueError(f"colours: expected {len(parts)}, one for each part; got {len(colours)}")
    starts = np.concatenate([[0.0], np.cumsum(parts)[:-1]])
    bars = [
        Rectangle((s, at - thick / 2), w, thick, color=c, lw=0, zorder=2)
        for s, w, c in zip(starts, parts, colours, strict=True)
    ]
    for bar in bars:
        ax.add_patch(bar)
    return bars


@style.styled
def terms(
    history: Mapping[str, Mapping[str, ArrayLike]],
    steps: ArrayLike | None = None,
    show: Sequence[str] | None = None,
    smooth: int = 1,
    ceilings: Mapping[str, tuple[float, str]] | None = None,
    units: str = "nats",
    along: str = "step",
) -> style.Picture:
    """Draw terms of trainings against the step: a panel for each term, a colour for each family.

    `history` maps a run's name ("ELBO", "A-MIM, width 20") to its terms, each (T,) or (S, T) for S
    seeds; the objective inside the name fixes colour and dash. `show` chooses terms (at most four).
    `smooth` is the window, in steps, of the running mean that the thick line shows. `ceilings` maps
    a term to its ceiling and that ceiling's name; `along` names what `steps` counts. A run that
    lacks a term is left out of its panel.
    Raises `ValueError` for unknown terms, or none, or too many.
    """
    found = list(dict.fromkeys(term for run in history.values() for term in run))
    chosen = found if show is None else list(show)
    if not set(chosen) <= set(found) or not 1 <= len(chosen) <= 4:
        raise ValueError(
            f"show: expected 1 to 4 terms among {', '.join(found) or 'none'}; "
            f"got {', '.join(chosen) or 'none'}"
        )
    if smooth < 1:
        raise ValueError(f"smooth: expected a window of at least 1 step, got {smooth}")
    picture = style.figure(9.0, 3.4 if len(chosen) > 1 else 3.8)
    margin, space = 0.62, 0.62
    right = 0.35 + 0.105 * max(len(name) for name in history)
    width = (9.0 - margin - right - space * (len(chosen) - 1)) / len(chosen)
    for column, term in enumerate(chosen):
        kept = {
            name: np.atleast_2d(np.asarray(run[term], dtype=float))
            for name, run in history.items()
            if term in run
        }
        left = margin + column * (width + space)
        ax = place(picture, left, 0.62, width, picture.get_figheight() - 1.25)
        _term_panel(ax, kept, steps, smooth, (ceilings or {}).get(term))
        names(ax, x=along)
        if column == len(chosen) - 1:
            beside(ax, _ends(history, kept, smooth))
        heading(ax, term.replace("_", " "), _note(units, smooth, max(map(len, kept.values()))))
    counted = f"{'training ' * (along == 'step')}{along}"
    picture.alt = f"{', '.join(chosen)} in {units} against the {counted} for {', '.join(history)}."
    return picture


def _note(units: str, smooth: int, seeds: int) -> str:
    parts = [units]
    if seeds > 1:
        parts.append(f"thin: {seeds} seeds")
    if smooth > 1:
        parts.append(f"thick: mean of {smooth} steps")
    return "; ".join(parts)


def _term_panel(
    ax: Axes,
    kept: Mapping[str, Array],
    steps: ArrayLike | None,
    smooth: int,
    cap: tuple[float, str] | None,
) -> None:
    """Draw one term of all runs, with three ticks an axis."""
    longest = max(v.shape[1] for v in kept.values())
    t = np.arange(longest) if steps is None else np.asarray(steps)
    if len(t) < longest:
        raise ValueError(f"steps: expected {longest} numbers, one for each value; got {len(t)}")
    values = np.concatenate([v[np.isfinite(v)] for v in kept.values()] + [[cap[0]] if cap else []])
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    low = 0.0 if 0 <= low < 0.5 * high else low
    pad = 0.06 * (high - low) or 0.5
    bottom = low if low == 0 else low - pad
    ax.set(xlim=(t[0], max(t[-1], t[0] + 1)), ylim=(bottom, high + (3 if cap else 1) * pad))
    ticks(ax, x=three(*ax.get_xlim()), y=three(*ax.get_ylim()))
    for name, v in kept.items():
        colour, dash, _ = style.look(name)
        if smooth > 1:
            ax.plot(t[: v.shape[1]], v.T, color=colour, lw=0.5, alpha=0.45, zorder=2)
            v = running_mean(v.mean(0), smooth)
        runs(ax, t[: v.shape[-1]], v, colour, dash)
    if cap:
        ceiling(ax, cap[0])
        ax.annotate(
            cap[1], (t[0], cap[0]), xytext=(4, 8), textcoords="offset points", va="bottom",
            fontsize=10, color=style.NOTE,
        )  # fmt: skip


def _ends(
    history: Mapping[str, Any], kept: Mapping[str, Array], smooth: int
) -> dict[str, tuple[float, str]]:
    """Find where each run's curve ends; a run without this term is named at the bottom."""
    ends = {}
    for name in history:
        mean = running_mean(kept[name].mean(0), smooth) if name in kept else np.array([0.0])
        last = mean[np.isfinite(mean)]
        ends[name] = (float(last[-1]) if len(last) else 0.0, style.look(name).colour)
    return ends


def running_mean(values: ArrayLike, window: int) -> Array:
    """Return the mean of `window` values around each place (T,), without NaN."""
    v = np.asarray(values, dtype=float)
    total = np.cumsum(np.concatenate([[0.0], np.where(np.isfinite(v), v, 0.0)]))
    count = np.cumsum(np.concatenate([[0.0], np.isfinite(v)]))
    start = np.maximum(np.arange(len(v)) - (window - 1) // 2, 0)
    end = np.minimum(np.arange(len(v)) + window // 2 + 1, len(v))
    with np.errstate(invalid="ignore"):
        return (total[end] - total[start]) / (count[end] - count[start])
