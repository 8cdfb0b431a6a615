"""The life of mixture components: stacked areas of their average posterior along the training.

To be noticed: colours vanish. Count them at the left, and at the right.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from lvmlab.plots import style
from lvmlab.plots.frames import halo, live, names, place, three, ticks

Array = NDArray[np.float64]
ALIVE = 0.02  # of the mass: below, a component counts as off


def alive(shares: ArrayLike) -> NDArray[np.int64]:
    """How many components hold more than 2 % of the mass; shares (..., K)."""
    return (np.asarray(shares) > ALIVE).sum(-1)


class LifeAreas:
    """Axes on which shares (T, K) are stacked, the largest total at the bottom, k in its area.

    `strip=True` adds the number of components in use above. `show` draws one run; all runs share
    the steps (T,).
    """

    @style.styled
    def __init__(
        self,
        picture: Figure,
        left: float,
        low: float,
        width: float,
        height: float,
        steps: ArrayLike,
        components: int,
        strip: bool = True,
    ) -> None:
        self.steps, self.components = np.asarray(steps, dtype=float), components
        self.height = height
        ends = float(self.steps[0]), float(self.steps[-1])
        self.strip = (
            place(picture, left, low + height + 0.08, width, 0.4, "blank") if strip else None
        )
        if self.strip is not None:
            self.strip.set(xlim=ends, ylim=(0, 1.15 * components))
            self.count = self.strip.fill_between(ends, 0, 0, color=style.TRACK, lw=0, step="post")
            (self.line,) = self.strip.plot([], [], color=style.INK, lw=2, drawstyle="steps-post")
            self.words = [
                self.strip.annotate(
                    "", (end, 0), xytext=(shift, 0), textcoords="offset points", ha=side,
                    va="center", fontsize=11, fontweight="bold", annotation_clip=False,
                )
                for end, shift, side in ((ends[0], -6, "right"), (ends[1], 6, "left"))
            ]  # fmt: skip
        self.ax = place(picture, left, low, width, height)
        self.ax.set(xlim=ends, ylim=(0, 1))
        ticks(self.ax, x=three(*ends), y=(0, 0.5, 1) if strip else (0, 1))
        names(self.ax, x="training step", y="average q(k|x)" if strip else "")
        empty = [np.zeros((3, 2))] * components
        self.areas = PolyCollection(empty, edgecolors="white", linewidths=0.8, zorder=2)
        self.ax.add_collection(self.areas, autolim=False)
        self.areas.set_facecolor([style.CLASSES[k % 10] for k in range(components)])
        self.labels = [
            halo(self.ax.text(0, 0, "", ha="center", va="center", fontsize=11, zorder=4), 3.0)
            for _ in range(components)
        ]
        self.cursor = self.ax.axvline(ends[0], color=style.INK, lw=1, zorder=3, visible=False)

    @style.styled
    def show(self, shares: ArrayLike, frame: int | None = None) -> None:
        """Draw one run, and a line at one frame."""
        table = np.asarray(shares, dtype=float)
        order = np.argsort(-table.sum(0), kind="stable")
        tops = table[:, order].cumsum(1)
        floors = tops - table[:, order]
        outlines: list[Array] = [np.zeros((3, 2))] * self.components
        for i, k in enumerate(order):
            low, high = floors[:, i], np.minimum(tops[:, i], 1)
            there = np.stack([self.steps, low], 1), np.stack([self.steps, high], 1)[::-1]
            outlines[k] = np.concatenate(there)
            self._name(k, self.steps, low, high)
        self.areas.set_verts(outlines)
        if self.strip is not None:
            self._count(alive(table))
        self.cursor.set_visible(frame is not None)
        if frame is not None:
            self.cursor.set_xdata([self.steps[frame]] * 2)

    def set_live(self) -> None:
        """Mark what moves."""
        live(self.areas, self.cursor, *self.labels)
        if self.strip is not None:
            live(self.count, self.line, *self.words)

    def _name(self, k: int, steps: Array, low: Array, high: Array) -> None:
        first = len(steps) // 3
        last = max(len(steps) - 1 - len(steps) // 8, first + 1)
        at = int((high - low)[first:last].argmax()) + first
        wide = (high[at] - low[at]) * self.height > 0.2  # inches
        self.labels[k].set(
            position=(steps[at], (low[at] + high[at]) / 2), text=f"k = {k}" if wide else ""
        )

    def _count(self, found: NDArray[np.int64]) -> None:
        across, up = np.repeat(self.steps, 2)[1:], np.repeat(found, 2)[:-1]
        ground = np.concatenate([[[across[0], 0]], np.stack([across, up], 1), [[across[-1], 0]]])
        self.count.set_verts([ground])
        self.line.set_data(self.steps, found)
        for word, count in zip(self.words, (found[0], found[-1]), strict=True):
            word.xy = (word.xy[0], float(count))
            word.set_text(f"{count}")


@style.styled
def mode_tiles(ax: Axes, components: int) -> tuple[list, list]:
    """Empty frames in two rows, one a component in its colour; the images and the words below."""
    columns = -(-components // 2)
    ax.set(xlim=(0, columns), ylim=(2.56, 0))
    tiles, words = [], []
    for k in range(components):
        left, top = k % columns, 1.28 * (k // columns)
        box = (left + 0.06, left + 0.94, top + 0.94, top + 0.06)
        tile = ax.imshow(
            np.zeros((2, 2)), cmap=style.lvm_n, vmin=0, vmax=1, extent=box, zorder=2,
            interpolation="nearest", aspect="auto",
        )  # fmt: skip
        ax.add_patch(_frame(box, style.CLASSES[k % 10]))
        tiles.append(tile)
        words.append(ax.text(left + 0.5, top + 1.1, "", ha="center", va="center", fontsize=10))
    ax.set(xlim=(0, columns), ylim=(2.56, 0))
    return tiles, words


def _frame(box: tuple[float, float, float, float], colour: str) -> Rectangle:
    left, right, bottom, top = box
    return Rectangle(
        (left, top), right - left, bottom - top, fill=False, edgecolor=colour, lw=2.5, zorder=3
    )
