"""Pictures of information: where in an image it sits, and an estimate with its floor and ceiling.

To be noticed: an estimate says something only where it stands clear of both.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from lvmlab.plots import style
from lvmlab.plots.curves import beside, runs
from lvmlab.plots.frames import ceiling, heading, names, number, place, ticks
from lvmlab.plots.measure import Array


def pixel_information(
    maps: Mapping[str, ArrayLike], notes: Mapping[str, str] | None = None
) -> style.Picture:
    """Draw one to three maps (H, W) of information in nats, one number a pixel, on one scale.

    `maps` maps a title to its map, first row on top; `notes` maps a title to the grey line below
    it. The largest pixel of each map is framed and its value stands under the map. Raises
    `ValueError` for no or more than three maps, maps of different shapes, negative values and NaN.
    """
    if not 1 <= len(maps) <= 3:
        raise ValueError(f"maps: expected one to three, got {len(maps)}; try two pictures")
    drawn = {title: _map(title, values) for title, values in maps.items()}
    if len({m.shape for m in drawn.values()}) > 1:
        raise ValueError(f"maps: expected one shape, got {[m.shape for m in drawn.values()]}")
    picture = style.figure(9.0, 3.5)
    peak, said = max(float(m.max()) for m in drawn.values()) or 1.0, []
    for index, (title, values) in enumerate(drawn.items()):
        ax = place(picture, 0.15 + 2.75 * index, 0.45, 2.25, 2.25, kind="box")
        ax.imshow(values, cmap=style.lvm_q, vmin=0, vmax=peak)
        row, column = np.unravel_index(values.argmax(), values.shape)
        ax.add_patch(
            Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=style.INK, lw=2)
        )
        ticks(ax, x=[], y=[])
        heading(ax, title, (notes or {}).get(title, ""))
        largest = f"largest {number(float(values.max()), 3)} nats"
        ax.text(0, -0.06, largest, transform=ax.transAxes, va="top", color=style.INK)
        said.append(f"{title}: {largest}, in row {row}, column {column}")
    _scale(picture, 0.15 + 2.75 * len(drawn), peak)
    picture.alt = f"Information in each pixel, on one scale. {'; '.join(said)}."
    return picture


def estimate_and_floor(
    sizes: ArrayLike,
    estimate: ArrayLike,
    floors: ArrayLike,
    limit: float,
    limit_name: str = "ceiling",
    size_name: str = "size",
) -> style.Picture:
    """Draw counted information (S,) in nats, its floor on broken pairs, difference and ceiling.

    `sizes` (S,) are positive and increasing, on a logarithmic axis; `floors` (R, S) has a row for
    each of R runs, drawn as thin lines with their mean; `limit` is what the estimate cannot pass.
    Raises `ValueError` for shapes that disagree and sizes that do not increase from above 0.
    """
    sizes, estimate, floors = _checked(sizes, estimate, floors)
    picture = style.figure(9.0, 3.8)
    ax = place(picture, 0.75, 0.62, 6.3, 2.4)
    ax.set(xscale="log", xlim=(sizes[0], sizes[-1]), ylim=(0, 1.1 * limit))
    ax.minorticks_off()
    middle = sizes[np.abs(np.log(sizes) - np.log(sizes[[0, -1]]).mean()).argmin()]
    halves = [0, 0.5 * limit, limit]
    ticks(ax, [sizes[0], middle, sizes[-1]], halves, y_labels=[number(v, 2) for v in halves])
    names(ax, x=size_name, y="nats")
    ceiling(ax, limit, depth=0.08 * limit)
    label = f" {limit_name} = {number(limit, 2)}"
    ax.text(sizes[0], 0.985 * limit, label, va="top", fontsize=10, color=style.NOTE)
    difference, end = estimate - floors.mean(0), [estimate[-1], floors[:, -1].mean()]
    runs(ax, sizes, floors, style.NOTE, style.DASHED)
    runs(ax, sizes, estimate, style.Q)
    runs(ax, sizes, difference, style.INK)
    ends = {
        f"counted {number(end[0], 2)}": (end[0], style.Q),
        f"floor {number(end[1], 2)}": (end[1], style.NOTE),
        f"difference {number(difference[-1], 2)}": (difference[-1], style.INK),
    }
    beside(ax, ends)
    note = f"dashed: the floor, counted from broken pairs, {len(floors)} times and their mean"
    heading(ax, "The floor rises to meet the estimate", note)
    best = int(difference.argmax())
    picture.alt = (
        f"Counted information climbs to {number(end[0], 2)} nats, under the {limit_name} of "
        f"{number(limit, 2)}, and its floor climbs after it to {number(end[1], 2)}. Their "
        f"difference peaks at {number(difference[best], 2)} nats for {number(sizes[best])} "
        f"{size_name} and ends at {number(difference[-1], 2)}."
    )
    return picture


def _checked(sizes: ArrayLike, estimate: ArrayLike, floors: ArrayLike) -> tuple[Array, ...]:
    s, e, f = (np.asarray(v, dtype=float) for v in (sizes, estimate, floors))
    if s.ndim != 1 or e.shape != s.shape or f.shape != (len(f), len(s)):
        raise ValueError(
            f"sizes, estimate and floors: expected (S,), (S,) and (R, S), got {s.shape}, "
            f"{e.shape} and {f.shape}"
        )
    if len(s) < 3 or s[0] <= 0 or (np.diff(s) <= 0).any():
        raise ValueError(f"sizes: expected three or more increasing numbers above 0, got {s}")
    return s, e, f


def _map(title: str, values: ArrayLike) -> Array:
    array = np.asarray(values, dtype=float)
    if array.ndim != 2 or not array.size or not np.isfinite(array).all() or (array < 0).any():
        raise ValueError(
            f"maps[{title!r}]: expected finite numbers of shape (H, W), none below 0, "
            f"got shape {array.shape}"
        )
    return array


def _scale(picture: style.Picture, left: float, peak: float) -> None:
    """Stand the common scale beside the last map."""
    ax = place(picture, left, 0.45, 0.14, 2.25, kind="box")
    ax.imshow(
        np.linspace(1, 0, 129)[:, None], cmap=style.lvm_q, extent=(0, 1, 0, peak), aspect="auto"
    )
    ticks(ax, x=[], y=[0, peak], y_labels=["0", number(peak, 2)])
    ax.yaxis.tick_right()
    heading(ax, "", "nats")
