"""The table bench: tilt a 3 x 3 table, watch its information and two ways to split a divergence.

To be noticed: at full tilt the information is the entropy of z, not log 3, once z is skewed; the
two splits share their total but not their parts.
"""

from collections.abc import Sequence
from typing import Any

import ipywidgets as W
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from lvmlab.plots import style
from lvmlab.plots.frames import heading, live, names, number, place, ticks
from lvmlab.plots.measure import Array, Grid, contributions, entropy
from lvmlab.plots.tables import TableView
from lvmlab.widgets.panel import Panel

GRID = Grid.table((3, 3))
SECONDS = ("uniform", "product of own marginals", "transpose")


def tilted(tilt: float, skew: float) -> Array:
    """Return a joint (3, 3) of x and z: with chance `tilt` x equals z, else x is uniform.

    z is geometric, p(z) proportional to (1 - 0.75 skew)^z: uniform at skew 0. Both arguments lie in
    [0, 1]. The table is a product at tilt 0 and diagonal at tilt 1.
    """
    for name, value in (("tilt", tilt), ("skew", skew)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name}: expected a number from 0 to 1, got {value}")
    over_z = (1 - 0.75 * skew) ** np.arange(3)
    return (tilt * np.eye(3) + (1 - tilt) / 3) * over_z / over_z.sum()


def second_table(table: Array, kind: str) -> Array:
    """Return the table to compare with: uniform, the product of own marginals, or the transpose."""
    if kind == "uniform":
        return np.full_like(table, 1 / table.size)
    if kind == "transpose":
        return table.T.copy()
    if kind == "product of own marginals":
        return table.sum(1, keepdims=True) * table.sum(0)
    raise ValueError(f"kind: expected one of {', '.join(SECONDS)}; got {kind!r}")


def splits(q: Array, p: Array) -> dict[str, tuple[float, float]]:
    """Split KL(q || p) in nats by x and by z, into a part of marginals and one of conditionals."""
    by_x, by_z = GRID.split(q, p), GRID.split(q.T, p.T)
    return {
        "by x": (float(by_x[0]), float(by_x[1].sum())),
        "by z": (float(by_z[0]), float(by_z[1].sum())),
    }


def table_bench() -> Panel:
    """Make the bench: tilt, skew of z and second table; contributions to KL and its two splits."""
    with style.style():
        bench = BenchPicture()
    wide: dict[str, Any] = {
        "style": {"description_width": "initial"},
        "layout": W.Layout(width="260px"),
    }
    return Panel(
        bench.picture,
        bench.show,
        tilt=W.FloatSlider(0.5, min=0, max=1, step=0.02, description="tilt", **wide),
        skew=W.FloatSlider(0.0, min=0, max=1, step=0.05, description="skew of z", **wide),
        second=W.Dropdown(
            options=SECONDS,
            value=SECONDS[1],
            description="second table",
            style=wide["style"],
            layout=W.Layout(width="285px"),
        ),
    )


class BenchPicture:
    """The picture of the bench: the tables q and p, the KL cell by cell, and its splits.

    Colours are fixed: probabilities are darkest at 0.8, contributions from 0.8 nats on.
    """

    def __init__(self) -> None:
        self.picture = style.figure(9.0, 3.6)
        size: dict[str, Any] = {"peak": 0.8, "margin_peak": 0.8}
        self.q = TableView(self.picture, (0.45, 0.65, 1.72, 1.72), (3, 3), "q", **size)
        self.p = TableView(self.picture, (2.62, 0.65, 1.72, 1.72), (3, 3), "p", **size)
        self.parts = TableView(self.picture, (4.79, 0.65, 1.72, 1.72), (3, 3), "gap", 0.8)
        above = 0.45
        heading(self.q.ax, "The joint q", "probability", style.Q, above)
        heading(self.p.ax, "The second, p", "probability", style.P, above)
        heading(self.parts.ax, "Each cell adds", "q log(q / p), nats", above=above)
        for view in (self.q, self.p, self.parts):
            names(view.ax, x="x", z="z" if view is self.q else "")
            view.ax.tick_params(labelleft=view is self.q)
            view.set_live()
        self.bars = SplitMarks(place(self.picture, 6.85, 0.65, 2.05, 1.3))
        words = place(self.picture, 6.85, 2.1, 2.1, 1.4, kind="blank")
        self.big = words.text(0, 0.82, "", fontsize=28, fontweight="bold", va="center")
        words.text(0, 0.5, "nats, KL(q || p)", fontsize=10.5, color=style.NOTE, va="center")
        self.info = words.text(0, 0.25, "", fontsize=10.5, va="center")
        live(self.big, self.info)

    def show(self, tilt: float, skew: float, second: str) -> str:
        """Show one table against the second one; return the sentence that tells the result."""
        q = tilted(tilt, skew)
        p = second_table(q, second)
        self.q.show(q)
        self.p.show(p)
        cells = self.parts.show(contributions(q, p))
        kl, information, most = float(cells.sum()), float(GRID.information(q)), entropy(q.sum(0))
        self.bars.show(splits(q, p))
        self.big.set_text(number(kl, 2))
        self.info.set_text(f"I in q {number(information, 2)}, H(z) {number(most, 2)}")
        return (
            f"tilt {tilt:.2f}, skew {skew:.2f}: information {number(information, 4)} nats, "
            f"entropy of z {number(most, 4)}; KL to the table '{second}' {number(kl, 4)} nats."
        )


class SplitMarks:
    """Two bars of equal length whose parts differ: dark for marginals, light for conditionals."""

    def __init__(self, ax: Axes) -> None:
        self.ax = ax
        ax.set(xlim=(0, 1.6), ylim=(-0.6, 1.85))
        ticks(ax, x=(0, 0.75, 1.5), y=())
        ax.spines.left.set_visible(False)
        names(ax, x="nats")
        self.bars = PolyCollection([], linewidths=0, zorder=2)
        self.bars.set_facecolor([style.INK, style.EXACT] * 2)
        ax.add_collection(self.bars, autolim=False)
        self.words = [ax.text(0, y + 0.33, "", fontsize=10.5, color=style.NOTE) for y in (1, 0)]
        live(self.bars, *self.words)

    def show(self, parts: dict[str, tuple[float, float]]) -> None:
        """Show both splits; their two parts end at the same total."""
        verts = []
        rows = zip(self.words, (1, 0), parts.items(), strict=True)
        for word, at, (name, (margin, inside)) in rows:
            other = "z|x" if name == "by x" else "x|z"
            word.set_text(f"{number(margin, 2)} in {name[-1]} + {number(inside, 2)} in {other}")
            for low, high in ((0.0, margin), (margin, margin + inside)):
                verts.append([(low, at - 0.2), (low, at + 0.2), (high, at + 0.2), (high, at - 0.2)])
        self.bars.set_verts(np.nan_to_num(np.array(verts), posinf=10.0))


def table_states(tilts: Sequence[float] = (0, 0.5, 1), skew: float = 0.5) -> style.Picture:
    """Draw up to three tilts side by side, with what each cell adds to the information below."""
    if not 1 <= len(tilts) <= 3:
        raise ValueError(f"tilts: expected 1 to 3 values, got {len(tilts)}")
    picture = style.figure(9.0, 5.6)
    told = []
    with style.style():
        for column, tilt in enumerate(tilts):
            q, left = tilted(tilt, skew), 0.45 + 2.95 * column
            p = second_table(q, SECONDS[1])
            top = TableView(picture, (left, 2.85, 2.1, 1.75), (3, 3), "q", 0.8, margin_peak=0.8)
            top.show(q)
            below = TableView(picture, (left, 0.55, 2.1, 1.75), (3, 3), "gap", 0.8)
            below.show(contributions(q, p))
            told.append(f"{number(float(GRID.information(q)), 2)} nats at tilt {tilt:g}")
            heading(top.ax, f"tilt {tilt:g}", f"I = {told[-1].split(' at')[0]}", above=0.45)
            heading(below.ax, "", "what each cell adds to I" if column == 0 else "")
            names(top.ax, z="z" if column == 0 else "")
            names(below.ax, x="x", z="z" if column == 0 else "")
            for ax in (top.ax, below.ax):
                ax.tick_params(labelleft=column == 0)
    picture.alt = (
        f"Information grows with the tilt: {', '.join(told)}, where it equals the entropy of z."
    )
    return picture
