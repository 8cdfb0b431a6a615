"""Pictures of a latent plane: posteriors as ellipses, codes as dots, the prior as two dashed rings.

To be noticed: whether the blue ellipses ARE the prior's ring (z says nothing), or stand apart
inside it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from numpy.typing import ArrayLike

from lvmlab.plots import style
from lvmlab.plots.frames import halo, names, place, ticks
from lvmlab.plots.measure import Array

MANY = 130  # more ellipses than this hide one another


@style.styled
def latent_axes(
    picture: Figure, left: float, bottom: float, side: float, span: float = 3.0
) -> Axes:
    """Add a square of latent space, on its lilac floor, from -span to span."""
    ax = place(picture, left, bottom, side, side, kind="floor")
    ax.set(xlim=(-span, span), ylim=(-span, span))
    ticks(ax, x=(-2, 0, 2), y=(-2, 0, 2))
    names(ax, x=r"$z_1$", z=r"$z_2$")
    return ax


@style.styled
def prior_rings(ax: Axes, label: str = "prior, 1 and 2 sd") -> list[Circle]:
    """Draw the standard normal prior above everything: dashed orange rings at 1 and 2 scales."""
    rings = [
        Circle(
            (0, 0), r, fill=False, edgecolor=style.P, linewidth=1.5, linestyle=(0, (4, 2)), zorder=5
        )
        for r in (1, 2)
    ]
    for ring in rings:
        ax.add_patch(ring)
    if label:
        corner: dict[str, Any] = {
            "transform": ax.transAxes,
            "ha": "right",
            "va": "bottom",
            "zorder": 6,
        }
        ax.text(0.97, 0.02, label, color=style.P, fontsize=10, **corner)
    return rings


@style.styled
def ellipses(
    ax: Axes,
    means: ArrayLike,
    scales: ArrayLike,
    colours: str | Sequence[str] = style.Q,
    fill: float = 0.05,
) -> EllipseCollection:
    """Draw each posterior as its ellipse at one scale; at most 130 of them, evenly chosen.

    `means` and `scales` (standard deviations) are (N, 2); `colours` is one colour or N. `fill` is
    the opacity of the inside: 0.05 when ellipses overlap, 0.3 when they stand apart.
    """
    centre, spread = _plane("means", means), _plane("scales", scales)
    if centre.shape != spread.shape or (spread <= 0).any():
        raise ValueError(
            f"scales: expected {len(centre)} pairs of positive standard deviations, got shape "
            f"{spread.shape} with a smallest value of {spread.min():.3g}"
        )
    chosen = np.unique(np.linspace(0, len(centre) - 1, min(len(centre), MANY)).round().astype(int))
    inks = [colours] * len(centre) if isinstance(colours, str) else list(colours)
    marks = EllipseCollection(
        2 * spread[chosen, 0],
        2 * spread[chosen, 1],
        np.zeros(len(chosen)),
        units="xy",
        offsets=centre[chosen],
        transOffset=ax.transData,
        facecolors=[to_rgba(inks[n], fill) for n in chosen],
        edgecolors=[inks[n] for n in chosen],
        linewidths=0.8,
        zorder=3,
    )
    ax.add_collection(marks, autolim=False)
    return marks


@style.styled
def codes(
    ax: Axes,
    z: ArrayLike,
    labels: ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
    size: float = 3.2,
) -> list[Line2D]:
    """Draw codes (N, 2) as dots: blue, or by class with the class's name in ink on its middle.

    `labels` (N,) are integers from 0 to 9. Five classes or fewer take the colours that stay apart
    from p's orange. Where names would lie on each other they are the key at the top instead; set
    the limits of the axes before.
    """
    points = _plane("z", z)
    if labels is None:
        return ax.plot(*points.T, "o", ms=size, mew=0, color=style.Q, zorder=3)
    kinds = np.asarray(labels)
    if kinds.shape != (len(points),) or kinds.min() < 0 or kinds.max() >= len(style.CLASSES):
        raise ValueError(
            f"labels: expected {len(points)} integers from 0 to 9, got shape {kinds.shape}"
        )
    present = np.unique(kinds)
    few = present.max() < len(style.FEW_CLASSES)
    palette = style.FEW_CLASSES if few else style.CLASSES
    lines = []
    for k in present:
        lines += ax.plot(*points[kinds == k].T, "o", ms=size, mew=0, color=palette[k], zorder=3)
    called = [str(k) if class_names is None else class_names[k] for k in present]
    middles = np.array([np.median(points[kinds == k], axis=0) for k in present])
    if _crowded(ax, middles):
        _key(ax, lines, called)
        return lines
    for (x, y), name in zip(middles, called, strict=True):
        halo(
            ax.text(x, y, name, fontsize=13, fontweight="bold", ha="center", va="center", zorder=6)
        )
    return lines


def _crowded(ax: Axes, places: Array) -> bool:
    """Whether two of these places are nearer than a digit is high."""
    from scipy.spatial.distance import pdist

    ax.get_xlim(), ax.get_ylim()  # limits that wait for the data are found now
    points = ax.transData.transform(places) * 72 / ax.figure.dpi
    return len(points) > 1 and bool(pdist(points).min() < 13)


def _key(ax: Axes, lines: list[Line2D], called: list[str]) -> None:
    wide = ax.get_window_extent().width / ax.figure.dpi > 2.8
    legend = ax.legend(
        lines,
        called,
        loc="upper center",
        ncols=len(called) if wide and max(map(len, called)) < 3 else -(-len(called) // 2),
        fontsize=11,
        markerscale=2,
        handlelength=0.8,
        handletextpad=0.1,
        columnspacing=0.7,
        borderpad=0.2,
        borderaxespad=0.3,
        framealpha=0.85,
        edgecolor="none",
    )
    legend.set_zorder(6)


def _plane(name: str, values: ArrayLike) -> Array:
    points = np.asarray(values, dtype=float)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points) or not np.isfinite(points).all():
        raise ValueError(
            f"{name}: expected finite numbers of shape (N, 2), got shape {points.shape}; "
            "a plane has two axes, choose z[:, :2]"
        )
    return points
