"""Mixtures of round Gaussians in the plane: blue dots are data, orange circles components.

To be noticed: whether there are as many places as components, or several components in one place.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from numpy.typing import ArrayLike

from lvmlab.plots import style
from lvmlab.plots.frames import heading, place, three, ticks

MANY = 500  # more dots than this hide the circles


def mixture_fits(
    x: ArrayLike,
    fits: Mapping[str, tuple[ArrayLike, ArrayLike]],
    notes: Mapping[str, str] | None = None,
) -> style.Picture:
    """Draw one to four mixtures over the same data, each component as circles at 1 and 2 scales.

    `x` is (N, 2), of which at most 500 rows are drawn; `fits` maps a title to means (K, 2) and
    scales, one number or (K,); an objective's name in the title gives its colour. `notes` replaces
    the grey line below a title, which counts the places: components nearer than a tenth of a scale
    share one. Raises `ValueError` for other shapes and for scales that are not positive.
    """
    data = _plane("x", x)
    if not 1 <= len(fits) <= 4:
        raise ValueError(f"fits: expected one to four, got {len(fits)}; more need a second picture")
    picture = style.figure(9.0, 2.9)
    side = min((9.0 - 0.5 - 0.25 * len(fits)) / len(fits), 2.1)
    low, high = data.min(), data.max()
    said = []
    for column, (title, (means, scales)) in enumerate(fits.items()):
        centre = _plane(f"means of {title!r}", means)
        spread = _scales(title, scales, len(centre))
        count = places(centre, spread)
        ax = place(picture, 0.5 + column * (side + 0.25), 0.35, side, side, kind="box")
        ax.set(xlim=(low, high), ylim=(low, high))
        marks = three(low, high)
        ticks(ax, x=marks, y=marks)
        one = column == 0
        ax.tick_params(labelbottom=one, bottom=one, labelleft=one, left=one)
        shown = data[:: -(-len(data) // MANY)]
        ax.plot(*shown.T, "o", ms=2.2, mew=0, alpha=0.55, color=style.Q, zorder=1)
        circles(ax, centre, spread)
        said.append(f"{title}: {len(centre)} components in {_counted(count)}")
        colour = style.look(title).colour
        note = (notes or {}).get(title, f"{len(centre)} components, {_counted(count)}")
        heading(ax, title, note, style.INK if colour == style.NOTE else colour)
    picture.alt = f"Blue data and the orange components of mixtures. {'; '.join(said)}."
    return picture


def circles(ax: Axes, means: ArrayLike, scales: ArrayLike) -> None:
    """Draw components as orange circles at 1 and 2 scales with a mark at the mean, p outlined."""
    centre = _plane("means", means)
    spread = _scales("circles", scales, len(centre))
    for width, thick in ((1, 1.8), (2, 1.0)):
        round_ = 2 * width * spread
        marks = EllipseCollection(
            round_,
            round_,
            np.zeros(len(centre)),
            units="xy",
            offsets=centre,
            transOffset=ax.transData,
            facecolors="none",
            edgecolors=style.P,
            linewidths=thick,
            zorder=3,
        )
        ax.add_collection(marks, autolim=False)
    ax.plot(*centre.T, "+", ms=8, mew=1.8, color=style.P, zorder=4)


def places(means: ArrayLike, scales: ArrayLike) -> int:
    """Count the places components stand in: nearer than a tenth of a scale is the same place."""
    centre = _plane("means", means)
    near = 0.1 * _scales("places", scales, len(centre)).min()
    apart: list[np.ndarray] = []
    for mean in centre:
        if all(np.linalg.norm(mean - other) > near for other in apart):
            apart.append(mean)
    return len(apart)


def _counted(count: int) -> str:
    return f"{count} place" + ("s" if count > 1 else "")


def _scales(title: str, scales: ArrayLike, count: int) -> np.ndarray:
    spread = np.asarray(scales, dtype=float)
    if spread.shape not in ((), (count,)) or not (spread > 0).all():
        raise ValueError(
            f"scales of {title!r}: expected one positive standard deviation or {count}, "
            f"got shape {spread.shape}"
        )
    return np.broadcast_to(spread, (count,))


def _plane(name: str, values: ArrayLike) -> np.ndarray:
    points = np.asarray(values, dtype=float)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points) or not np.isfinite(points).all():
        raise ValueError(f"{name}: expected finite numbers of shape (N, 2), got {points.shape}")
    return points
