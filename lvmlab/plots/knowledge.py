"""Knowledge on a plane: the exact density in blue, the model's outline over it; bars in nats.

To be noticed: with each kind switched on the density tightens, and no bar passes its ceiling.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from contourpy import contour_generator
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from lvmlab.plots import style
from lvmlab.plots.frames import live, names, number, place, three, ticks
from lvmlab.plots.planes import LEVELS


class KnowledgePlane:
    """A square of data space: blue what is exact, orange contours of a model, grey a bent grid.

    axis: (A,) evenly spaced places along both axes. `lines` are places (P, 2) along the image of a
    grid of z, drawn only when asked for.
    """

    @style.styled
    def __init__(
        self,
        picture: Figure,
        left: float,
        low: float,
        side: float,
        axis: ArrayLike,
        lines: Sequence[ArrayLike] = (),
    ) -> None:
        self.axis = np.asarray(axis, dtype=float)
        first, last = float(self.axis[0]), float(self.axis[-1])
        self.ax = place(picture, left, low, side, side, kind="box")
        half = (self.axis[1] - self.axis[0]) / 2
        box = (first - half, last + half, first - half, last + half)
        empty = np.zeros((2, 2))
        self.heat = self.ax.imshow(
            empty, cmap=style.lvm_q, vmin=0, vmax=1, extent=box, origin="lower", zorder=0,
            interpolation="bilinear",
        )  # fmt: skip
        self.bent = LineCollection(
            [np.asarray(line, dtype=float) for line in lines],
            colors=style.NOTE, linewidths=0.6, zorder=1, visible=False,
        )  # fmt: skip
        self.outline = LineCollection([], colors=style.P, linewidths=1.5, zorder=2)
        self.ax.add_collection(self.bent, autolim=False)
        self.ax.add_collection(self.outline, autolim=False)
        self.ax.set(xlim=(first, last), ylim=(first, last))
        ticks(self.ax, x=three(first, last), y=three(first, last))
        names(self.ax, x=r"$t_1$", z=r"$t_2$")

    @style.styled
    def show(self, exact: ArrayLike, model: ArrayLike, bent: bool = False) -> None:
        """Draw two densities (A, A), first axis t_1; the contours lie at 8, 25, 45 and 70 %."""
        exact, model = np.asarray(exact, dtype=float), np.asarray(model, dtype=float)
        # the darkest blue stays for what is twice as high: orange must be seen on it
        self.heat.set(data=exact.T / (2 * exact.max()))
        generator = contour_generator(self.axis, self.axis, model.T)
        found = (generator.lines(level * float(model.max())) for level in LEVELS)
        self.outline.set_segments([np.asarray(line) for some in found for line in some])
        self.bent.set_visible(bent)

    def set_live(self) -> None:
        """Mark what moves."""
        live(self.heat, self.bent, self.outline)


class KnowledgeBars:
    """One bar a kind: how many nats it says about t, under the ceiling of its own entropy."""

    @style.styled
    def __init__(
        self,
        picture: Figure,
        left: float,
        low: float,
        width: float,
        kinds: Sequence[str],
        information: ArrayLike,
        entropy: ArrayLike,
    ) -> None:
        said, most = np.asarray(information, dtype=float), np.asarray(entropy, dtype=float)
        height = 0.52 * len(kinds)
        self.ax = place(picture, left, low, width, height)
        end = 1.1 * float(most.max())
        self.ax.set(xlim=(0, end), ylim=(len(kinds) - 0.45, -0.55))
        ticks(self.ax, x=three(0, end), y=[])
        self.ax.spines["left"].set_visible(False)
        names(self.ax, x="nats")
        self.bars = self.ax.barh(range(len(kinds)), said, 0.5, color=style.TRACK, zorder=2)
        for row, (name, value, cap) in enumerate(zip(kinds, said, most, strict=True)):
            band: dict[str, Any] = {"facecolor": style.HATCH_GROUND, "edgecolor": style.AXIS}
            beyond = Rectangle(
                (cap, row - 0.25), end - cap, 0.5, hatch="/////", linewidth=0, zorder=1, **band
            )
            self.ax.add_patch(beyond)
            self.ax.plot([cap, cap], [row - 0.25, row + 0.25], color=style.NOTE, lw=1.2, zorder=3)
            words = f"{name}  {number(value, 2)}"
            self.ax.text(0.02 * end, row, words, va="center", fontsize=10.5, zorder=4)

    def show(self, chosen: Sequence[bool]) -> None:
        """Light the bars of the kinds that are switched."""
        for bar, on in zip(self.bars, chosen, strict=True):
            bar.set_facecolor("#F9B899" if on else style.TRACK)

    def set_live(self) -> None:
        """Mark what moves, and the words over it."""
        live(*self.bars, *self.ax.texts, *self.ax.lines)
