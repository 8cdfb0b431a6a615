"""Finite tables as coloured squares with their numbers: joints, and parts of a divergence.

To be noticed: in a table of contributions some cells are orange (negative), yet their sum is not.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from lvmlab.plots import style
from lvmlab.plots.frames import live, number, place, ticks
from lvmlab.plots.joints import STRIP, profile, strip
from lvmlab.plots.measure import Array

MAPS = {"q": style.lvm_q, "p": style.lvm_p, "n": style.lvm_n, "gap": style.lvm_gap}


class TableView:
    """One finite table (X, Z) as squares with numbers, x to the right and z up.

    `kind` is the meaning of the colours: `q` or `p` for joints, `n` for costs and neutral tables,
    `gap` for signed values, whose scale is symmetric about 0. `peak` fixes the scale of colours,
    `margin_peak` that of the marginals on the top and right edge (none: no marginals).
    `decimals=None` leaves out the numbers. Infinity is a dark cell with the word inf.
    """

    @style.styled
    def __init__(
        self,
        picture: Figure,
        rectangle: tuple[float, float, float, float],
        shape: tuple[int, int],
        kind: str = "q",
        peak: float = 1.0,
        margin_peak: float | None = None,
        decimals: int | None = 2,
        x_names: Sequence[str] | None = None,
        z_names: Sequence[str] | None = None,
    ) -> None:
        if kind not in MAPS:
            raise ValueError(f"kind: expected one of {', '.join(MAPS)}; got {kind!r}")
        if len(shape) != 2 or min(shape) < 1 or not peak > 0:
            raise ValueError(
                f"shape and peak: expected (X, Z) and a positive peak, got {shape}, {peak}"
            )
        self.shape, self.kind, self.peak, self.decimals = tuple(shape), kind, float(peak), decimals
        self.ax = place(picture, *rectangle, kind="box")
        self.ax.set(xlim=(-0.5, shape[0] - 0.5), ylim=(-0.5, shape[1] - 0.5))
        xs, zs = range(shape[0]), range(shape[1])
        ticks(self.ax, xs, zs, x_names or [str(i) for i in xs], z_names or [str(j) for j in zs])
        self.ax.tick_params(length=0)
        self.image = self.ax.imshow(
            np.zeros(self.shape[::-1]),
            cmap=MAPS[kind],
            vmin=-self.peak if kind == "gap" else 0,
            vmax=self.peak,
            origin="lower",
            aspect="auto",
            interpolation="nearest",
            zorder=0,
        )
        rule: dict[str, Any] = {"color": "white", "lw": 1.2, "zorder": 1}
        self.rules = [self.ax.axvline(i + 0.5, **rule) for i in xs[:-1]]
        self.rules += [self.ax.axhline(j + 0.5, **rule) for j in zs[:-1]]
        word: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 10, "zorder": 3}
        self.words = (
            [] if decimals is None else [self.ax.text(i, j, "", **word) for i in xs for j in zs]
        )
        self._margins(picture, rectangle, margin_peak)

    def _margins(self, picture: Figure, rectangle: tuple, peak: float | None) -> None:
        self.margins: list[PolyCollection] = []
        if peak is None:
            return
        left, bottom, width, height = rectangle
        tall, wide, space = STRIP
        places = (
            (left, bottom + height + space, width, tall),
            (left + width + space, bottom, wide, height),
        )
        colour = {"q": style.Q, "p": style.P}.get(self.kind, style.NOTE)
        for where, limits, up in zip(
            places, (self.ax.get_xlim(), self.ax.get_ylim()), (True, False), strict=True
        ):
            bars = PolyCollection([], facecolors=colour, linewidths=0, alpha=0.85)
            strip(picture, where, limits, peak, up).add_collection(bars, autolim=False)
            self.margins.append(bars)

    def show(self, values: ArrayLike) -> Array:
        """Fill the cells (X, Z) and return them; raises `ValueError` for another shape or NaN."""
        table = np.asarray(values, dtype=float)
        if table.shape != self.shape:
            raise ValueError(
                f"values: expected shape {self.shape}, x first and then z; got {table.shape}"
            )
        _check(table)
        shade = np.nan_to_num(table, posinf=self.peak, neginf=-self.peak)
        self.image.set_data(shade.T)
        inks = self._ink(shade).ravel()
        for k, word in enumerate(self.words):
            word.set(text=number(float(table.flat[k]), self.decimals), color=inks[k])
        for axis, bars in enumerate(self.margins):
            bars.set_verts(
                profile(np.arange(float(self.shape[axis])), shade.sum(1 - axis), True, up=axis == 0)
            )
        return table

    def _ink(self, shade: Array) -> Array:
        """Choose white words on the darker half of the map, ink on the lighter."""
        part = abs(shade) / self.peak if self.kind == "gap" else shade / self.peak
        return np.where(part > (0.7 if self.kind == "gap" else 0.48), "white", style.INK)

    def set_live(self) -> None:
        """Mark all that `show` changes, and the rules above it, as moving parts."""
        live(self.image, *self.rules, *self.words, *self.margins)


def _check(cells: Array) -> None:
    if np.isnan(cells).any():
        raise ValueError(f"values: expected numbers, got {np.isnan(cells).sum()} NaN")


@style.styled
def table(
    picture: Figure,
    rectangle: tuple[float, float, float, float],
    values: ArrayLike,
    kind: str = "q",
    margins: bool = True,
    decimals: int | None = 2,
    x_names: Sequence[str] | None = None,
    z_names: Sequence[str] | None = None,
) -> TableView:
    """Draw one table (X, Z) at a rectangle in inches; scales come from its own values."""
    cells = np.asarray(values, dtype=float)
    if cells.ndim != 2:
        raise ValueError(f"values: expected a table of shape (X, Z), got {cells.shape}")
    _check(cells)
    finite = np.where(np.isfinite(cells), cells, 0.0)
    sides = [float(finite.sum(axis).max()) for axis in (0, 1)]
    view = TableView(
        picture,
        rectangle,
        cells.shape,
        kind,
        peak=float(abs(finite).max()) or 1.0,
        margin_peak=max(sides) if margins and kind != "gap" else None,
        decimals=decimals,
        x_names=x_names,
        z_names=z_names,
    )
    view.show(cells)
    return view
