"""Pictures of a joint over (x, z): q blue and filled, p an orange outline, marginals on two edges.

To be noticed: where blue leaves the orange outline, the two joints disagree. x runs to the right, z
up. A finite set of z stands as rows, in each of which q is a filled hill and p a line; a finite
table shows squares whose area is probability.
"""

from typing import Any

import numpy as np
from contourpy import contour_generator
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike

from lvmlab.plots import style
from lvmlab.plots.frames import live, number, place, three, ticks
from lvmlab.plots.measure import Array, Grid

LEVELS = (0.08, 0.30, 0.65)  # contours of p, as parts of its peak
_HILL = 0.86  # a hill of full height fills this part of its row
STRIP = (
    0.40,
    0.22,
    0.05,
)  # inches: height of the top strip, width of the right one, gap to the joint


def outline(grid: Grid, joint: Array, peak: float | None = None) -> list[Array]:
    """Return the lines that outline a joint (X, Z): contours, or the edges of hills or squares.

    Contours lie at 8, 30 and 65 % of the peak.

    `peak` is the value at which a hill fills its row, or a square its cell (default: the joint's
    own largest value).
    """
    if grid.discrete_x and grid.discrete_z:
        return [np.vstack([s, s[:1]]) for s in _squares(grid, joint, peak)]
    if grid.discrete_x or grid.discrete_z:
        return [h[1:-1] for h in _hills(grid, joint, peak)]
    generator = contour_generator(grid.x, grid.z, np.asarray(joint, dtype=float).T)
    lines = (generator.lines(level * float(np.max(joint))) for level in LEVELS)
    return [np.asarray(line) for some in lines for line in some]


def bodies(
    grid: Grid, joint: Array, peak: float | None = None, signed: bool = False
) -> list[Array]:
    """Return the filled shapes of a joint with a finite axis: hills in rows, or squares in cells.

    With `signed`, hills stand on the middle of their row, and negative values hang below it.
    """
    finite = grid.discrete_x and grid.discrete_z
    return _squares(grid, joint, peak) if finite else _hills(grid, joint, peak, signed)


def _squares(grid: Grid, joint: Array, peak: float | None) -> list[Array]:
    half = 0.47 * np.sqrt(np.abs(joint) / (peak or np.abs(joint).max() or 1.0)).ravel()
    centre = np.stack(np.meshgrid(grid.x, grid.z, indexing="ij"), -1).reshape(-1, 1, 2)
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    return list(centre + half[:, None, None] * corners)


def _hills(grid: Grid, joint: Array, peak: float | None, signed: bool = False) -> list[Array]:
    along, rows = (grid.z, joint) if grid.discrete_x else (grid.x, np.asarray(joint).T)
    full = 0.5 * _HILL if signed else _HILL
    height = full * np.asarray(rows, dtype=float) / (peak or float(np.abs(rows).max()) or 1.0)
    shapes = []
    for k, hill in enumerate(height):
        base = k if signed else k - 0.5 * _HILL
        up = np.concatenate([[base], base + hill, [base]])
        on = np.concatenate([along[:1], along, along[-1:]])
        shapes.append(np.stack([up, on] if grid.discrete_x else [on, up], -1))
    return shapes


def heat(ax: Axes, grid: Grid, cmap: Any, low: float, high: float) -> AxesImage:
    """Lay an empty heat map over the whole grid; fill it with `set_data(joint.T)`."""
    return ax.imshow(
        np.zeros(grid.shape[::-1]),
        cmap=cmap,
        vmin=low,
        vmax=high,
        origin="lower",
        extent=(*grid.x_limits, *grid.z_limits),
        aspect="auto",
        interpolation="bilinear",
        zorder=0,
    )


def strip(
    picture: Figure,
    rectangle: tuple[float, float, float, float],
    limits: tuple,
    peak: float,
    up: bool,
) -> Axes:
    """Add bare axes for a marginal at the top (`up`) or right edge; `peak` fixes the scale."""
    ax = place(picture, *rectangle, kind="blank")
    if up:
        ax.set(xlim=limits, ylim=(0, 1.06 * peak))
    else:
        ax.set(ylim=limits, xlim=(0, 1.06 * peak))
    return ax


def profile(
    points: Array, values: Array, discrete: bool, up: bool, width: float = 0.7
) -> list[Array]:
    """Return the shapes under a marginal: one hill, or one bar for each value of a finite set."""
    if discrete:
        half = width / 2
        bars = [
            np.array([(c - half, 0), (c - half, v), (c + half, v), (c + half, 0)])
            for c, v in zip(points, values, strict=True)
        ]
    else:
        ends = np.array([[points[0], 0.0]]), np.array([[points[-1], 0.0]])
        bars = [np.vstack([ends[0], np.stack([points, values], -1), ends[1]])]
    return bars if up else [b[:, ::-1] for b in bars]


class JointView:
    """One joint with its marginals: q filled and p outlined, p filled, or q - p with its sign.

    `kind` says which: `target`, `model` or `gap`.

    `left, bottom, width, height` is the rectangle of the joint itself in inches; strips of
    marginals stand outside its top and right edge. `peak` is the largest value of all joints that
    are compared, `x_peak` and `z_peak` of their marginals: they fix the scales, so that frames
    never jump. `show` moves the marks.
    """

    @style.styled
    def __init__(
        self,
        picture: Figure,
        rectangle: tuple[float, float, float, float],
        grid: Grid,
        kind: str,
        peak: float,
        x_peak: float,
        z_peak: float,
    ) -> None:
        if kind not in ("target", "model", "gap"):
            raise ValueError(f"kind: expected target, model or gap; got {kind!r}")
        self.grid, self.kind, self.peak = grid, kind, float(peak)
        left, bottom, width, height = rectangle
        tall, wide, space = STRIP
        self.ax = place(picture, *rectangle, kind="box")
        self.ax.set(xlim=grid.x_limits, ylim=_with_room(grid.z_limits, grid.discrete_z))
        name_axes(self.ax, grid)
        self.top = strip(
            picture, (left, bottom + height + space, width, tall), self.ax.get_xlim(), x_peak, True
        )
        self.right = strip(
            picture, (left + width + space, bottom, wide, height), self.ax.get_ylim(), z_peak, False
        )
        self.right.set_visible(kind != "gap")
        self._marks()
        self._strips()
        words: dict[str, Any] = {"transform": self.ax.transAxes, "zorder": 6, "color": style.INK}
        self.label = self.ax.text(
            0.035, 0.965, "", va="top", fontsize=13, fontweight="bold", **words
        )
        self.note = self.ax.text(0.965, 0.035, "", ha="right", fontsize=10.5, **words)

    def _marks(self) -> None:
        low, high = (-self.peak, self.peak) if self.kind == "gap" else (0, self.peak)
        self.map = {"target": style.lvm_q, "model": style.lvm_p, "gap": style.lvm_gap}[self.kind]
        self.image = heat(self.ax, self.grid, self.map, low, high)
        self.image.set_visible(not (self.grid.discrete_x or self.grid.discrete_z))
        self.shapes = PolyCollection([], linewidths=0, zorder=1)
        self.lines = LineCollection([], colors=style.P, linewidths=1.4, zorder=3, capstyle="round")
        self.ax.add_collection(self.shapes, autolim=False)
        self.ax.add_collection(self.lines, autolim=False)
        (self.dots,) = self.ax.plot([], [], "o", ms=3.8, mew=0, color=style.Q, zorder=4)

    def _strips(self) -> None:
        self.fills, self.edges = [], []
        for ax in (self.top, self.right):
            filled = {"model": style.P, "target": style.Q}.get(self.kind, style.NOTE)
            fill = PolyCollection([], facecolors=filled, linewidths=0, alpha=0.85)
            edge = LineCollection([], colors=style.P, linewidths=1.5, zorder=3)
            ax.add_collection(fill, autolim=False)
            ax.add_collection(edge, autolim=False)
            self.fills.append(fill)
            self.edges.append(edge)

    def show(
        self,
        q: ArrayLike | None = None,
        p: ArrayLike | None = None,
        pairs: ArrayLike | None = None,
    ) -> None:
        """Show joints (X, Z); `pairs` (N, 2) of x and z stand as dots in place of the heat."""
        if self.kind == "gap":
            self._fill(np.asarray(q, dtype=float) - np.asarray(p, dtype=float))
            return
        q, p = (None if j is None else np.asarray(j, dtype=float) for j in (q, p))
        body = p if self.kind == "model" else q
        self._fill(None if pairs is not None else body)
        self.dots.set_data(*(_dots(self.grid, pairs).T if pairs is not None else ([], [])))
        drawn = p if self.kind == "target" else None
        self.lines.set_segments([] if drawn is None else outline(self.grid, drawn, self.peak))
        for k, fill in enumerate(self.fills):
            fill.set_verts(self._profile(body, k) if body is not None else [])
            self.edges[k].set_segments([] if drawn is None else self._profile(drawn, k, True))

    def show_cost(self, cost: Array, colour: str) -> None:
        """Fill the top strip with a cost (X,), in nats for a unit of x: its area is the gap."""
        self.fills[0].set_facecolor(colour)
        self.fills[0].set_verts(profile(self.grid.x, cost, self.grid.discrete_x, up=True))

    def _fill(self, values: Array | None) -> None:
        if values is None:
            self.image.set_data(np.zeros(self.grid.shape[::-1]))
            self.shapes.set_verts([])
        elif not (self.grid.discrete_x or self.grid.discrete_z):
            self.image.set_data(np.asarray(values).T)
        elif self.kind == "gap":
            more_q = bodies(self.grid, np.maximum(values, 0), self.peak, signed=True)
            more_p = bodies(self.grid, np.minimum(values, 0), self.peak, signed=True)
            self.shapes.set_verts(more_q + more_p)
            self.shapes.set_facecolor([style.Q] * len(more_q) + [style.P] * len(more_p))
        else:
            self.shapes.set_verts(bodies(self.grid, values, self.peak))
            self.shapes.set_facecolor(self.map(0.6))

    def _profile(self, joint: Array, axis: int, open_ended: bool = False) -> list[Array]:
        points, discrete = (
            (self.grid.x, self.grid.discrete_x),
            (self.grid.z, self.grid.discrete_z),
        )[axis]
        shapes = profile(points, self.grid.marginals(joint)[axis], discrete, up=axis == 0)
        return [s[1:-1] for s in shapes] if open_ended and not discrete else shapes

    def set_live(self) -> None:
        """Mark all that `show` moves as moving parts of the picture."""
        marks: list[Artist] = [
            self.image,
            self.shapes,
            self.lines,
            self.dots,
            self.label,
            self.note,
        ]
        live(*marks, *self.fills, *self.edges)


def left_margin(grid: Grid) -> float:
    """Return the inches that the ticks and the name of z need at the left of a picture."""
    labels = grid.z_names or [number(v) for v in three(*_inner(grid.z_limits))]
    return 0.48 + 0.08 * max(0, max(map(len, labels)) - 2)


def name_axes(ax: Axes, grid: Grid) -> None:
    """Give a joint its ticks: three on a continuous axis, the value's name on a finite one."""
    if grid.discrete_x:
        ticks(ax, x=grid.x, x_labels=grid.x_names)
    else:
        ticks(ax, x=three(*_inner(grid.x_limits)))
    if grid.discrete_z:
        ticks(ax, y=grid.z, y_labels=grid.z_names)
    else:
        ticks(ax, y=three(*_inner(grid.z_limits)))
    for axis, finite in ((ax.xaxis, grid.discrete_x), (ax.yaxis, grid.discrete_z)):
        if finite:
            axis.set_tick_params(length=0)


def _inner(limits: tuple[float, float]) -> tuple[float, float]:
    """Keep ticks off the very ends, where labels of neighbours would meet."""
    margin = 0.04 * (limits[1] - limits[0])
    return limits[0] + margin, limits[1] - margin


def _with_room(limits: tuple[float, float], discrete: bool) -> tuple[float, float]:
    """Leave room above and below rows for the two numbers that stand inside the frame."""
    span = limits[1] - limits[0]
    return (limits[0] - 0.13 * span, limits[1] + 0.17 * span) if discrete else limits


def _dots(grid: Grid, pairs: ArrayLike) -> Array:
    """Place pairs; on a finite axis, where many coincide, they are spread over their row."""
    dots = np.array(pairs, dtype=float)
    if dots.ndim != 2 or dots.shape[1] != 2 or not np.isfinite(dots).all():
        raise ValueError(
            f"pairs: expected finite numbers of shape (N, 2), x and z, got shape {dots.shape}"
        )
    for axis, discrete in enumerate((grid.discrete_x, grid.discrete_z)):
        if discrete:
            dots[:, axis] += 0.6 * (np.arange(len(dots)) * 0.6180339887 % 1 - 0.5)
    return dots
