"""The picture of a walk through latents: the floor with the path, and what decodes along it.

To be noticed: what lies between two things in z, and what lies between them in x.
"""

from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.text import Text
from numpy.typing import NDArray

from lvmlab.plots import style
from lvmlab.plots.frames import halo, heading, live, names, number, place, three, ticks
from lvmlab.plots.latents import codes

Array = NDArray[Any]
RIGHT, WIDE = 4.85, 3.95  # inches: where the right half begins, and its width
LETTERS = 52  # of a text on one line
SIDE = 3.6  # inches of the floor


class PathMarks:
    """The path on one map: its line and steps, the corners with their letters, the place looked at.

    `show` puts them at places (M, 2); with `lines=False`, for maps on which straight is not
    straight, only steps are drawn.
    """

    @style.styled
    def __init__(self, ax: Axes, corners: Sequence[str], lines: bool) -> None:
        self.ax, self.lines = ax, lines
        (self.way,) = ax.plot([], [], color=style.INK, lw=2, zorder=7)
        (self.dots,) = ax.plot([], [], ":", color=style.NOTE, lw=1.6, zorder=6)
        round_: dict[str, Any] = {"ls": "", "marker": "o", "mec": "white"}
        (self.steps,) = ax.plot([], [], color=style.INK, ms=5, mew=0.5, zorder=8, **round_)
        (self.ends,) = ax.plot([], [], mfc="white", ms=11, zorder=9, ls="", marker="o", mew=2.5,
                               mec=style.INK)  # fmt: skip
        (self.look,) = ax.plot([], [], color=style.P, ms=9, mew=1.5, zorder=10, **round_)
        bold: dict[str, Any] = {"fontsize": 14, "fontweight": "bold", "zorder": 11, "ha": "center"}
        self.letters = [halo(ax.text(0, 0, name, **bold)) for name in corners]
        live(self.way, self.dots, self.steps, self.ends, self.look, *self.letters)

    def show(self, path: Array, look: Array) -> None:
        """Place the path, its corners at its ends (or at those of the square), and the look."""
        side = round(len(path) ** 0.5)
        outer = [0, -1] if len(self.letters) == 2 else [0, side - 1, -side, -1]
        ends = path[outer]
        if self.lines:
            ring = ends if len(ends) == 2 else ends[[0, 1, 3, 2, 0]]
            self.way.set_data(*ring.T)
        self.steps.set_data(*path.T)
        self.ends.set_data(*ends.T)
        self.look.set_data([look[0]], [look[1]])
        low, high = self.ax.get_ylim()
        for letter, (x, y) in zip(self.letters, ends, strict=True):
            letter.set_position((x, y + 0.04 * (high - low)))


class WalkPicture:
    """Left a map of codes with the path on it; right strips (or a square), and one place, large.

    maps: places (N, 2) by name, the first one linear in z. `first`: one decoded image (1, H, W), or
    a list with a text. `blend`: with the strip that is straight in x; `priors`: names of densities
    p(z), "" for a nameless one.
    Every `show_...` moves marks only.
    """

    @style.styled
    def __init__(
        self,
        maps: Mapping[str, Array],
        labels: Array | None,
        first: Any,
        blend: bool,
        priors: Sequence[str],
        corners: Sequence[str],
    ) -> None:
        self.picture = style.figure(9.0, 5.15)
        self.floors = {name: _floor(self.picture, name, at, labels) for name, at in maps.items()}
        self.marks = {
            name: PathMarks(ax, corners, lines=not i)
            for i, (name, ax) in enumerate(self.floors.items())
        }
        self.floor = next(iter(self.floors.values()))
        self.square = len(corners) == 4
        self.texts = isinstance(first, list)
        self._look(first)
        if self.texts:
            self._lines()
        elif self.square:
            self._square(first, corners)
        else:
            self._strips(first, blend, corners)
        self.priors = list(priors)
        curve = priors and not self.square
        self.curve = _Density(self.picture, priors) if curve else None

    def _look(self, first: Any) -> None:
        tile = place(self.picture, RIGHT, 3.55, 1.0, 1.0, "blank")
        beside = place(self.picture, RIGHT + (0 if self.texts else 1.2), 3.55, 2.75, 1.0, "blank")
        self.tile = None
        if not self.texts:
            self.tile = _grid(tile, first, (1, 1))
            live(self.tile)
        top: dict[str, Any] = {"va": "top", "x": 0}
        self.where = beside.text(y=1.0, s="", fontsize=13, fontweight="bold", color=style.P, **top)
        self.what = beside.text(y=0.68, s="", fontsize=10.5, color=style.NOTE, **top)
        self.density = beside.text(y=0.42, s="", fontsize=10.5, color=style.NOTE, **top)
        self.text = beside.text(y=0.2, s="", fontsize=10.5, color=style.INK, **top)
        live(self.where, self.what, self.density, self.text)

    def _lines(self) -> None:
        ax = place(self.picture, RIGHT, 1.3, WIDE, 1.85, "blank")
        heading(ax, "Straight in z, decoded")
        self.words: list[Text] = [
            ax.text(0, 1 - (i + 0.5) / 9, "", fontsize=10, va="center") for i in range(9)
        ]
        live(*self.words)

    def _square(self, first: Any, corners: Sequence[str]) -> None:
        ax = place(self.picture, RIGHT + 0.3, 0.3, 2.9, 2.9, "blank")
        self.page = _grid(ax, first, (7, 7))
        for name, x, y in zip(corners, (-0.05, 1.05, -0.05, 1.05), (0.07, 0.07, 0.93, 0.93),
                              strict=True):  # fmt: skip
            ax.text(x, y, name, fontsize=13, fontweight="bold", ha="center", va="center")
        live(self.page)

    def _strips(self, first: Any, blend: bool, corners: Sequence[str]) -> None:
        self.strips: list[AxesImage] = []
        titles = ["Straight in z, decoded"] + ["Straight in x"] * blend
        for title, low in zip(titles, (2.5, 1.5), strict=False):
            ax = place(self.picture, RIGHT, low, WIDE, WIDE / 9, "blank")
            heading(ax, title)
            self.strips.append(_grid(ax, first, (1, 9)))
            for name, x in zip(corners, (0.5 / 9, 8.5 / 9), strict=True):
                ax.text(x, -0.1, name, transform=ax.transAxes, fontsize=11, fontweight="bold",
                        ha="center", va="top")  # fmt: skip
        live(*self.strips)

    def show_map(self, name: str, path: Array, look: Array) -> None:
        """Turn to a map, and put the path and the place that is looked at on it."""
        self.floor = self.floors[name]
        for other, ax in self.floors.items():
            if ax.get_visible() != (other == name):
                ax.set_visible(other == name)
        self.marks[name].show(path, look)
        self.marks[name].dots.set_data([], [])

    def show_decoded(self, along: Any, here: Any) -> None:
        """What decodes along the path, images or texts, and at the place that is looked at."""
        if self.texts:
            for i, (word, text) in enumerate(zip(self.words, along, strict=True)):
                end = {0: "A  ", len(along) - 1: "B  "}.get(i, "     ")
                word.set_text(end + shorten(text, LETTERS, placeholder=" ..."))
            self.text.set_text(shorten(here, LETTERS, placeholder=" ..."))
            return
        if self.tile is not None:
            self.tile.set_data(here)
        if self.square:
            self.page.set_data(_laid(along, (7, 7)))
        else:
            self.strips[0].set_data(_laid(along, (1, len(along))))

    def show_blend(self, images: Array, places: Array | None) -> None:
        """The strip that is straight in x, and where it lies when encoded."""
        self.strips[1].set_data(_laid(images, (1, len(images))))
        if places is not None:
            mine = next(m for m in self.marks.values() if m.ax is self.floor)
            mine.dots.set_data(*places.T)

    def show_density(self, nats: Array | None, here: Array) -> None:
        """Log p(z) of each prior along the path (K, M) and at the place looked at (K,), nats."""
        self.density.set_text(f"log p(z) = {', '.join(number(v, 1) for v in here)} nats")
        if self.curve is not None and nats is not None:
            self.curve.show(nats)

    def name(self, where: str, nearest: str) -> None:
        """Say what is decoded, and which row is nearest."""
        self.where.set_text(f"Decoded: {where}" if where.startswith("code") else f"Decoded {where}")
        self.what.set_text(shorten(f"nearest: {nearest}", LETTERS, placeholder=" ..."))


class _Density:
    """Log p(z) along the path; its scale moves with it, so the axis says two numbers only.

    Each prior has a scale of its own: the numbers of the first at the left, of the second right.
    """

    def __init__(self, picture: style.Picture, priors: Sequence[str]) -> None:
        self.ax = place(picture, RIGHT, 0.55, WIDE - 0.4 * (len(priors) > 1), 0.5)
        self.ax.set(xlim=(0, 1), ylim=(-0.1, 1.1))
        dashes = ["-", (0, (4, 2)), (0, (1, 1.2))]
        called = ["line", "dashes", "dots"]
        words = [f"{n} ({c})" for n, c in zip(priors, called, strict=False) if n]
        middle = f"log p(z), nats{': ' * bool(words)}{', '.join(words)}"
        ticks(self.ax, x=(0, 0.5, 1), x_labels=("A", middle, "B"), y=())
        self.lines = [
            self.ax.plot([], [], color=style.P, lw=2, ls=dashes[i % 3])[0]
            for i in range(len(priors))
        ]
        look: dict[str, Any] = {"fontsize": 10, "color": style.TICK, "va": "center"}
        sides = [(-0.015, "right"), (1.015, "left")][: len(priors)]
        self.ends = [self.ax.text(x, y, "", ha=ha, **look) for x, ha in sides for y in (0.0, 1.0)]
        live(*self.lines, *self.ends)

    def show(self, nats: Array) -> None:
        """Curves (K, M) of K priors over one path."""
        way = np.linspace(0, 1, nats.shape[1])
        low, high = nats.min(1), nats.max(1)
        for line, values, least, most in zip(self.lines, nats, low, high, strict=True):
            line.set_data(way, (values - least) / max(most - least, 1e-9))
        for word, value in zip(self.ends, np.stack([low, high], 1).ravel(), strict=False):
            word.set_text(number(float(value), 1))


def _floor(picture: style.Picture, name: str, at: Array, labels: Array | None) -> Axes:
    ax = place(picture, 0.7, 0.65, SIDE, SIDE, kind="floor")
    middle = (at.min(0) + at.max(0)) / 2
    reach = 1.08 * max(float((at.max(0) - at.min(0)).max()) / 2, 1e-9)
    (x, y), axes = (
        middle,
        {
            "the plane": {"x": r"$z_1$", "z": r"$z_2$"},
            "PCA": {"x": "first principal axis, units of z", "y": "second principal axis"},
        },
    )
    ax.set(xlim=(x - reach, x + reach), ylim=(y - reach, y + reach))
    codes(ax, at, labels, size=3)
    if name in axes:
        ticks(ax, x=three(*ax.get_xlim()), y=three(*ax.get_ylim()))
    else:
        ticks(ax, x=(), y=())
    names(ax, **axes.get(name, {"x": f"{name}: distances between groups mean little"}))
    heading(ax, "A walk on the floor", "drag a corner; press a place to decode it")
    ax.set_visible(False)
    return ax


def _grid(ax: Axes, first: Any, shape: tuple[int, int]) -> AxesImage:
    blank = np.zeros((shape[0] * shape[1], *np.shape(first)[1:]))
    shown = ax.imshow(
        _laid(blank, shape), cmap=style.lvm_n, vmin=0, vmax=1, interpolation="nearest",
        extent=(0, 1, 0, 1), aspect="auto",
    )  # fmt: skip
    ax.set(xlim=(0, 1), ylim=(0, 1))
    return shown


def _laid(images: Array, shape: tuple[int, int]) -> Array:
    """Images (R x C, H, W), the first row at the bottom, on one page with gutters."""
    rows, columns = shape
    height, width = images.shape[1:]
    page = np.full((rows, height + 1, columns, width + 1), np.nan)
    page[:, :height, :, :width] = images.reshape(rows, columns, height, width)[::-1].transpose(
        0, 2, 1, 3
    )
    flat = page.reshape(rows * (height + 1), columns * (width + 1))[:-1, :-1]
    return np.ma.masked_invalid(flat)
