"""Pictures of learning: two joints that move in turns, and what all seeds came to.

To be noticed: no move goes up; and where the dots of two settings do not overlap.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.collections import LineCollection
from numpy.typing import ArrayLike

from lvmlab.plots import style
from lvmlab.plots.curves import strokes
from lvmlab.plots.frames import heading, names, number, place, three, ticks


def alternation(
    paths: Mapping[str, ArrayLike],
    notes: Mapping[str, str] | None = None,
    name: str = "cost, nats",
) -> style.Picture:
    """Draw costs that two joints lower in turns as stairs: blue where q moves, orange where p does.

    `paths` maps up to four names to (2 T,) or (S, 2 T): the cost after each move, q first and then
    p, in turns. Seeds are thin grey stairs; on those of the first, each drop has the colour of the
    joint that made it. All panels share their axes. Raises `ValueError` for an odd number of moves.
    """
    drawn = {title: np.atleast_2d(np.asarray(path, dtype=float)) for title, path in paths.items()}
    if not 1 <= len(drawn) <= 4:
        raise ValueError(f"paths: expected one to four, got {len(drawn)}")
    for title, path in drawn.items():
        if path.ndim != 2 or path.shape[1] < 2 or path.shape[1] % 2 or not np.isfinite(path).all():
            raise ValueError(
                f"paths[{title!r}]: expected finite costs after q, p, q, p, ... of shape (2 T,) or "
                f"(S, 2 T), got shape {path.shape}"
            )
    low = min(float(v.min()) for v in drawn.values())
    high = max(float(v.max()) for v in drawn.values())
    end = max(v.shape[1] - 1 for v in drawn.values()) / 2
    picture = style.figure(9.0, 3.05)
    width = 8.3 / len(drawn) - 0.3
    for column, (title, path) in enumerate(drawn.items()):
        ax = place(picture, 0.65 + column * 8.3 / len(drawn), 0.6, width, 1.85)
        pad = 0.06 * (high - low) or 0.5
        ax.set(xlim=(0, end), ylim=(low - pad, high + pad))
        ticks(ax, x=three(0, end), y=three(low, high))
        ax.tick_params(labelleft=column == 0)
        names(ax, x="pairs of moves", y=name if column == 0 else "")
        t = np.arange(path.shape[1]) / 2
        ax.step(t, path[1:].T, where="post", color=style.NOTE, lw=0.5, alpha=0.45, zorder=1)
        ax.step(t, path[0], where="post", color=style.INK, lw=1.0, zorder=2)
        drops = [[(t[i], path[0, i - 1]), (t[i], path[0, i])] for i in range(1, len(t))]
        moved = [style.P if i % 2 else style.Q for i in range(1, len(t))]
        ax.add_collection(
            LineCollection(drops, colors=moved, linewidths=4, zorder=3), autolim=False
        )
        steep = path[0, -1 - path.shape[1] // 4] - path[0, -1] > 0.1 * (high - low)
        ax.annotate(
            number(float(path[0, -1]), 3),
            (t[-1], path[0, -1]),
            xytext=(0, -7 if steep else 7),  # not on stairs that still fall
            textcoords="offset points",
            ha="right",
            va="top" if steep else "baseline",
            fontweight="bold",
        )
        heading(ax, title, (notes or {}).get(title, ""), style.look(title).colour)
    said = ", ".join(
        f"{title} from {number(float(p[0, 0]), 3)} to {number(float(p[0, -1]), 3)}"
        for title, p in drawn.items()
    )
    picture.alt = f"The {name} falls in turns, blue where q moves and orange where p moves: {said}."
    return picture


def seed_panels(
    panels: Mapping[str, Mapping[str, ArrayLike]],
    units: Mapping[str, str] | None = None,
    notes: Mapping[str, str] | None = None,
    decimals: int = 1,
) -> style.Picture:
    """Draw every run of several settings as a dot and their mean as a stroke, one panel a metric.

    `panels` maps a title to settings, and a setting's name ("EM", "CoLLike") to its values (S,).
    `units` names the axis of a panel; panels of one unit share their limits. At most four panels.
    """
    if not 1 <= len(panels) <= 4:
        raise ValueError(f"panels: expected one to four, got {len(panels)}")
    units, notes = units or {}, notes or {}
    picture = style.figure(9.0, 3.35)
    width = 8.3 / len(panels) - 0.55
    limits = {unit: _limits(panels, units, unit) for unit in {units.get(t, t) for t in panels}}
    said = []
    for column, (title, settings) in enumerate(panels.items()):
        ax = place(picture, 0.65 + column * 8.3 / len(panels), 0.5, width, 2.3)
        unit = units.get(title, title)
        ax.set(xlim=(-0.6, len(settings) - 0.4), ylim=limits[unit])
        ticks(ax, x=list(range(len(settings))), y=three(*limits[unit]), x_labels=list(settings))
        ax.tick_params(axis="x", length=0)
        names(ax, y=units.get(title, ""))
        for position, (name, values) in enumerate(settings.items()):
            strokes(ax, position, values, style.look(name).colour, decimals)
            said.append(f"{title}, {name} {number(float(np.mean(np.asarray(values))), decimals)}")
        count = max(len(np.ravel(v)) for v in settings.values())
        heading(ax, title, notes.get(title, f"dots: {count} seeds"))
    picture.alt = f"Every seed is a dot. Means: {'; '.join(said)}."
    return picture


def _limits(panels: Mapping, units: Mapping[str, str], unit: str) -> tuple[float, float]:
    """Common limits of all panels of one unit, with room for the numbers below the dots."""
    values = np.concatenate(
        [
            np.ravel(np.asarray(v, dtype=float))
            for title, settings in panels.items()
            if units.get(title, title) == unit
            for v in settings.values()
        ]
    )
    low, high = float(values.min()), float(values.max())
    span = (high - low) or 1.0
    return low - 0.2 * span, high + 0.08 * span
