"""The plane of two-dimensional data: a blue density under orange reconstructions.

To be noticed: where the blue has no orange on it, the model has forgotten those data.
"""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from lvmlab.plots import style
from lvmlab.plots.frames import names, place, three, ticks
from lvmlab.plots.measure import Array

LEVELS = (0.08, 0.25, 0.45, 0.70)  # edges of the filled areas, as parts of the peak
SHADES = (0.10, 0.21, 0.33, 0.46)  # places of the areas on the map lvm_q
POINTS = 121  # points of a smoothed density along each axis


class Density(NamedTuple):
    """A density `values` (A, B) over evenly spaced points `x1` (A,) and `x2` (B,) of the plane."""

    x1: Array
    x2: Array
    values: Array

    @property
    def limits(self) -> tuple[float, float]:
        """One interval that holds the density along both axes."""
        return float(min(self.x1[0], self.x2[0])), float(max(self.x1[-1], self.x2[-1]))


def smoothed(points: ArrayLike, bandwidth: float | None = None) -> Density:
    """Smooth samples (N, 2) by a Gaussian kernel into a density on a square that holds them all.

    `bandwidth` is the kernel's standard deviation, in units of x (default: half of Scott's rule,
    since data that are worth a picture have more than one bump). Raises `ValueError` for another
    shape, numbers that are not finite, and samples that all coincide.
    """
    rows = np.asarray(points, dtype=float)
    if rows.ndim != 2 or rows.shape[1] != 2 or not len(rows) or not np.isfinite(rows).all():
        raise ValueError(f"points: expected finite samples of shape (N, 2), got {rows.shape}")
    spread = float(rows.std(0).mean())
    if spread == 0:
        raise ValueError("points: expected samples that differ, got one place only; give a density")
    width = bandwidth or 0.5 * spread * len(rows) ** (-1 / 6)
    low, high = rows.min() - 3 * width, rows.max() + 3 * width
    axis = np.linspace(low, high, POINTS)
    near = np.exp(-0.5 * ((axis[:, None, None] - rows) / width) ** 2)  # (POINTS, N, 2)
    values = near[:, :, 0] @ near[:, :, 1].T
    return Density(axis, axis, values / values.sum() / (axis[1] - axis[0]) ** 2)


def check_density(density: Density | tuple | ArrayLike) -> Density:
    """Return a `Density` of (x1, x2, values) or of samples (N, 2); `ValueError` if amiss."""
    if not isinstance(density, tuple):
        return smoothed(density)
    if len(density) != 3:
        raise ValueError(f"density: expected (x1, x2, values), got {len(density)} parts")
    x1, x2, values = (np.asarray(part, dtype=float) for part in density)
    if x1.ndim != 1 or x2.ndim != 1 or values.shape != (len(x1), len(x2)):
        raise ValueError(
            f"density: expected x1 (A,), x2 (B,) and values (A, B), got {x1.shape}, {x2.shape} "
            f"and {values.shape}"
        )
    if not np.isfinite(values).all() or values.min() < 0 or values.max() == 0:
        raise ValueError("density: expected values of 0 and more, not all 0; are these logarithms?")
    return Density(x1, x2, values)


@style.styled
def data_plane(picture: Figure, left: float, bottom: float, side: float, density: Density) -> Axes:
    """Add a square of data space with a density filled in blue, at 8, 25, 45 and 70 % of its peak.

    Equal aspect, one interval for both axes.
    """
    ax = place(picture, left, bottom, side, side, kind="box")
    low, high = density.limits
    peak = float(density.values.max())
    ax.contourf(
        density.x1,
        density.x2,
        density.values.T,
        levels=[*(part * peak for part in LEVELS), 1.01 * peak],
        colors=[style.lvm_q(shade) for shade in SHADES],
        zorder=0,
    )
    ax.set(xlim=(low, high), ylim=(low, high))
    marks = three(low, high)
    ticks(ax, x=marks, y=marks)
    names(ax, x=r"$x_1$", z=r"$x_2$")
    return ax
