"""What a critic can say: its bound against the number of candidates, under two ceilings.

To be noticed: the bound follows log K first and flattens under the information afterwards.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import ArrayLike

from lvmlab.plots import style
from lvmlab.plots.frames import halo, heading, live, names, number, place, ticks
from lvmlab.plots.measure import Array

TOP, BOTTOM = 8.0, -1.0  # nats
COLOUR = style.FAMILIES["critics"]


class BoundMarks:
    """Axes of a bound (S, K) in nats over K candidates, with both of its ceilings.

    `show` moves everything but the axes and the ceiling log K.
    """

    def __init__(
        self, picture: Any, left: float, bottom: float, width: float, height: float, sizes: Array
    ) -> None:
        self.sizes = np.asarray(sizes, dtype=float)
        if len(self.sizes) < 2 or self.sizes[0] < 2 or (np.diff(self.sizes) <= 0).any():
            raise ValueError(f"sizes: expected increasing numbers from 2 up, got {sizes}")
        self.ax = ax = place(picture, left, bottom, width, height)
        ax.set(xscale="log", xlim=(self.sizes[0], self.sizes[-1]), ylim=(BOTTOM, TOP))
        ax.minorticks_off()
        middle = self.sizes[len(self.sizes) // 2]
        ticks(ax, x=[self.sizes[0], middle, self.sizes[-1]], y=[0, 4, 8])
        names(ax, x="candidates K", y="nats")
        _log_ceiling(ax, self.sizes)
        ax.axhline(0, color=style.AXIS, lw=0.8, zorder=0.5)
        ax.text(
            self.sizes[-1], -0.12, "chance", ha="right", va="top", fontsize=10, color=style.NOTE
        )
        (self.exact,) = ax.plot([], [], color=style.EXACT, lw=1.6, zorder=1)
        word = ax.text(self.sizes[0] * 1.08, 0, "", fontsize=10, color=style.NOTE, zorder=6)
        self.word = halo(word)
        self.runs = LineCollection([], colors=COLOUR, linewidths=0.5, alpha=0.45, zorder=2)
        ax.add_collection(self.runs, autolim=False)
        (self.mean,) = ax.plot([], [], color=COLOUR, lw=2.4, zorder=3)
        (self.point,) = ax.plot([], [], "o", ms=8, color=COLOUR, mec="white", zorder=4)

    def set_live(self) -> None:
        """Let these marks move over a kept background."""
        live(self.exact, self.word, self.runs, self.mean, self.point)

    def show(self, information: float, bounds: ArrayLike, size: float | None = None) -> None:
        """Show bounds (S, K) below this exact information; `size` marks one K."""
        values = np.asarray(bounds, dtype=float)
        self.exact.set_data([self.sizes[0], self.sizes[-1]], [information, information])
        self.word.set_text(f"I = {number(information, 2)}")
        self.word.set_position((self.sizes[0] * 1.08, information + 0.15))
        self.runs.set_segments([np.stack([self.sizes, row], -1) for row in values])
        mean = values.mean(0)
        self.mean.set_data(self.sizes, mean)
        at = [] if size is None else [int(np.flatnonzero(self.sizes == size)[0])]
        self.point.set_data(self.sizes[at], mean[at])


def _log_ceiling(ax: Axes, sizes: Array) -> None:
    """Hatch what lies above log K, where no bound can be."""
    cap = np.log(sizes)
    ax.fill_between(
        sizes, cap, cap + 0.35, facecolor=style.HATCH_GROUND, edgecolor=style.AXIS, hatch="/////",
        linewidth=0, zorder=1.4,
    )  # fmt: skip
    ax.plot(sizes, cap, color=style.NOTE, lw=1.2, zorder=1.5)
    middle = len(sizes) // 2
    ax.annotate(
        "ceiling log K", (sizes[middle], cap[middle]), xytext=(-6, 12), textcoords="offset points",
        ha="right", fontsize=10, color=style.NOTE,
    )  # fmt: skip


@style.styled
def critic_states(
    bounds: Mapping[float, ArrayLike], sizes: Sequence[int], note: str = ""
) -> style.Picture:
    """Draw bounds (S, K) over the numbers of candidates (K,), a panel for each exact information.

    `bounds` maps one to three informations in nats to readings such as those of
    `lvmlab.diagnostics.infonce_readings`. Raises `ValueError` for another number of panels and for
    readings of another shape.
    """
    if not 1 <= len(bounds) <= 3:
        raise ValueError(f"bounds: expected one to three informations, got {len(bounds)}")
    picture, said = style.figure(9.0, 3.6), []
    width = 8.3 / len(bounds)
    for column, (information, given) in enumerate(bounds.items()):
        values = np.asarray(given, dtype=float)
        if values.ndim != 2 or values.shape[1] != len(sizes) or not np.isfinite(values).all():
            raise ValueError(
                f"bounds[{information}]: expected finite numbers (S, {len(sizes)}), got "
                f"{values.shape}"
            )
        box = (0.6 + column * width, 0.6, width - 0.45, 2.3)
        marks = BoundMarks(picture, *box, np.asarray(sizes))
        marks.show(information, values)
        marks.ax.set_ylabel("bound, nats" if column == 0 else "")
        marks.ax.tick_params(labelleft=column == 0)
        heading(marks.ax, f"{number(information)} nats to be found", note)
        end = float(values[:, -1].mean())
        said.append(f"of {number(information)} nats {number(end, 2)} with {sizes[-1]} candidates")
    picture.alt = f"The bound follows log K, then flattens under I: {'; '.join(said)}."
    return picture
