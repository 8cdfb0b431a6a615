"""One pairing in three costumes: framed cells of the costs, lines in a plane, dots of a joint.

To be noticed: blue boxes are blue lines are blue dots; the information of the joint they make is
that of the latent sample, whatever the pairing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgba
from numpy.typing import ArrayLike

from lvmlab.plots import style
from lvmlab.plots.frames import heading, live, names, number, place, three, ticks
from lvmlab.plots.measure import Array

SIDE, LOW = 2.3, 2.45  # inches: side of the three panels, their lower edge
MOVES = 24  # of the history are shown
WORDS = 8  # up to so many rows, cells and marks carry their numbers
DARKEST = 15.0  # nats; a pair that costs more is no darker


class Scene(NamedTuple):
    """All that moves: N rows, M different latents, a coupling R of them with rows of sum 1."""

    x: Array
    """(N, 2) places of the rows."""
    places: Array
    """(M, 2) where the decoder puts the latents."""
    curve: Array
    """(L, 2) all places it can reach, or (0, 2)."""
    scores: Array
    """(N, M) log p(x, z), nats."""
    weights: Array
    """(N, M) R; one-hot for a pairing."""
    before: Array
    """(N, M) the pairing before the last one, or one more R."""
    across: Array
    """(N,) the rows' coordinate in the joint."""
    height: Array
    """(M,) the latents' coordinate in the joint."""
    outlines: Sequence[Array]
    """Lines (L, 2) that show p in the joint."""
    history: Array
    """(T, 2) mean log p(x, z) of the pairs and of the best pairing, nats, one row a move."""
    chosen: int
    """Number of the point that controls move: rows first, then latents."""
    said: tuple[str, str]
    """The notes above the plane and above the joint."""


class TheatrePicture:
    """The picture of the assignment theatre with its moving marks; `show` puts a scene on it."""

    def __init__(self) -> None:
        self.picture = style.figure(9.0, 5.45)
        self.cost = place(self.picture, 0.62, LOW, SIDE, SIDE, kind="box")
        self.plane = place(self.picture, 3.55, LOW, SIDE, SIDE, kind="box")
        self.joint = place(self.picture, 6.5, LOW, SIDE, SIDE, kind="box")
        heading(self.cost, "Cost", r"$-\log p(x_i,z_j)$, nats; dark is costly")
        self.pairs_note = heading(self.plane, "The pairing", " ")[1]
        self.joint_note = heading(self.joint, "The joint it makes", " ")[1]
        names(self.plane, x="$x_1$", z="$x_2$")
        self._add_cells()
        self._add_plane()
        self._add_joint()
        self._add_trace()
        live(self.pairs_note, self.joint_note)

    def _add_cells(self) -> None:
        self.image = self.cost.imshow(
            np.zeros((1, 1)), cmap=style.lvm_n, vmin=0, vmax=DARKEST, origin="lower", aspect="auto"
        )
        self.boxes = PolyCollection([], facecolors="none", linewidths=2.6, zorder=3)
        self.cost.add_collection(self.boxes, autolim=False)
        word: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9.5, "zorder": 4}
        self.cells = [self.cost.text(0, 0, "", fontweight="bold", **word) for _ in range(WORDS)]
        self.cost.tick_params(length=0)
        live(self.image, self.boxes, *self.cells)

    def _add_plane(self) -> None:
        self.hairs = LineCollection([], colors=style.EXACT, linewidths=1.0, zorder=1)
        self.lines = LineCollection([], linewidths=2.0, zorder=2)
        for lines in (self.hairs, self.lines):
            self.plane.add_collection(lines, autolim=False)
        (self.curve,) = self.plane.plot([], [], color=style.P, lw=1.2, alpha=0.6, zorder=0.5)
        (self.dots,) = self.plane.plot([], [], "o", ms=7, color=style.Q, mew=0, zorder=3)
        (self.rings,) = self.plane.plot(
            [], [], "o", ms=8, mfc="white", mec=style.P, mew=2, zorder=2.5
        )
        (self.chosen,) = self.plane.plot(
            [], [], "o", ms=14, mfc="none", mec=style.INK, mew=1, zorder=4
        )
        word: dict[str, Any] = {"fontsize": 9.5, "zorder": 5, "clip_on": True}
        self.labels = [self.plane.text(0, 0, "", **word) for _ in range(2 * WORDS)]
        live(self.hairs, self.lines, self.curve, self.dots, self.rings, self.chosen, *self.labels)

    def _add_joint(self) -> None:
        self.outlines = LineCollection([], colors=style.P, linewidths=1.2, zorder=1)
        self.joint.add_collection(self.outlines, autolim=False)
        self.masses = self.joint.scatter([], [], s=45, c=style.Q, linewidths=0, zorder=2)
        live(self.outlines, self.masses)

    def _add_trace(self) -> None:
        self.trace = ax = place(self.picture, 0.85, 0.55, 5.0, 0.85)
        heading(ax, "The complete likelihood", "nats a point; grey: the best pairing of all")
        ax.set_xlim(-MOVES - 0.4, 0.4)
        ticks(ax, x=(-MOVES, -MOVES // 2, 0), x_labels=("−24", "−12", "now"))
        names(ax, x="moves")
        (self.best,) = ax.plot([], [], color=style.EXACT, lw=1.6, zorder=1)
        (self.mine,) = ax.plot([], [], color=style.look("CoLLike").colour, lw=2.4, zorder=2)
        (self.bead,) = ax.plot([], [], "D", color=style.look("CoLLike").colour, ms=5, zorder=3)
        words = place(self.picture, 6.5, 0.35, 2.4, 1.5, kind="blank")
        self.big = words.text(0, 0.7, "", fontsize=28, fontweight="bold", va="center")
        words.text(0, 0.4, "nats a point, log p(x, z)", fontsize=10.5, color=style.NOTE)
        self.short = words.text(0, 0.16, "", fontsize=10.5, color=style.NOTE)
        live(self.best, self.mine, self.bead, self.big, self.short)

    @style.styled
    def frame(
        self,
        rows: int,
        latents: int,
        limit: float,
        joint_limits: tuple[tuple[float, float], tuple[float, float]],
        joint_names: tuple[str, str],
        latent: str,
    ) -> None:
        """Set the axes for another world: its sizes, limits and names."""
        self.cost.set(xlim=(-0.5, latents - 0.5), ylim=(-0.5, rows - 0.5))
        self.image.set_extent((-0.5, latents - 0.5, -0.5, rows - 0.5))
        for set_ticks, count in ((self.cost.set_xticks, latents), (self.cost.set_yticks, rows)):
            shown = range(0, count, 1 if count < 10 else 2)  # ten and more would touch
            set_ticks(shown, [str(k + 1) for k in shown])
        self.cost.set_xlabel(f"{latent} j")
        self.cost.set_ylabel("row i", color=style.INK)
        self.plane.set(xlim=(-limit, limit), ylim=(-limit, limit))
        marks = three(-limit, limit)
        ticks(self.plane, x=marks, y=marks)
        across, up = joint_limits
        self.joint.set(xlim=across, ylim=up)
        whole = up[0] == 0.5  # numbered latents
        heights = np.unique(np.linspace(1, latents, 3).round()) if whole else three(*up)
        ticks(self.joint, x=three(*across), y=heights)
        names(self.joint, x=joint_names[0], z=joint_names[1])
        self.trace.set_ylim(0, 1e-6)  # to be renewed by the next scene

    def show(self, scene: Scene) -> None:
        """Move all marks to a scene."""
        self._show_cells(scene)
        self._show_plane(scene)
        i, j = np.nonzero(scene.weights > 0.01)
        self.masses.set_offsets(np.stack([scene.across[i], scene.height[j]], -1))
        self.masses.set_sizes(45 * scene.weights[i, j])
        self.outlines.set_segments(list(scene.outlines))
        self.pairs_note.set_text(scene.said[0])
        self.joint_note.set_text(scene.said[1])
        self._show_trace(scene.history)

    def _show_cells(self, scene: Scene) -> None:
        self.image.set_data(-scene.scores)
        _show_boxes(self.boxes, scene.weights)
        few = len(scene.x) <= WORDS
        hard = bool((scene.weights.max(1) > 0.99).all())
        for i, word in enumerate(self.cells):
            word.set_visible(few and hard and i < len(scene.x))
            if word.get_visible():
                j = int(scene.weights[i].argmax())
                cost = -float(scene.scores[i, j])
                word.set(position=(j, i), text=number(cost, 1))
                word.set_color("white" if cost > 0.48 * DARKEST else style.INK)

    def _show_plane(self, scene: Scene) -> None:
        i, j = np.nonzero(scene.weights > 0.01)
        self.lines.set_segments(list(np.stack([scene.x[i], scene.places[j]], 1)))
        self.lines.set_color([(*to_rgba(style.Q)[:3], 0.85 * w) for w in scene.weights[i, j]])
        i, j = np.nonzero((scene.before > 0.5) & (scene.weights < 0.5))
        self.hairs.set_segments(list(np.stack([scene.x[i], scene.places[j]], 1)))
        for line, points in (
            (self.curve, scene.curve), (self.dots, scene.x), (self.rings, scene.places),
        ):  # fmt: skip
            line.set_data(points[:, 0], points[:, 1])
        both = np.concatenate([scene.x, scene.places])
        self.chosen.set_data(both[scene.chosen : scene.chosen + 1].T)
        few, shift = len(scene.x) <= WORDS, 0.055 * np.ptp(self.plane.get_xlim())
        for k, word in enumerate(self.labels):
            word.set_visible(few and k < len(both))
            if word.get_visible():
                row = k < len(scene.x)
                word.set(
                    position=both[k] + ((-shift, 0.4 * shift) if row else (0.6 * shift, -shift)),
                    text=str(k + 1 if row else k + 1 - len(scene.x)),
                    color=style.Q if row else style.P,
                    ha="right" if row else "left",
                )

    def _show_trace(self, history: Array) -> None:
        shown = history[-MOVES - 1 :]
        low, high = float(shown.min()), float(shown.max())
        bottom, top = self.trace.get_ylim()
        if low < bottom or high > top:
            pad = 0.12 * max(high - low, 0.5)
            self.trace.set_ylim(low - pad, high + pad)
            ticks(self.trace, y=three(low - pad, high + pad))
        moves = np.arange(len(shown)) - len(shown) + 1
        self.mine.set_data(moves, shown[:, 0])
        self.best.set_data(moves, shown[:, 1])
        self.bead.set_data([0], shown[-1:, 0])
        self.big.set_text(number(float(shown[-1, 0]), 2))
        gap = float(shown[-1, 1] - shown[-1, 0])
        self.short.set_text(
            "the best pairing" if gap < 5e-4 else f"{number(gap, 2)} below the best pairing"
        )


def _show_boxes(boxes: PolyCollection, weights: Array) -> None:
    """Frame the cells (i up, j to the right) as strongly as the coupling uses them."""
    i, j = np.nonzero(weights > 0.01)
    corners = np.array([(-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5)]) * 0.9
    boxes.set_verts(list(np.stack([j, i], -1)[:, None] + corners))
    boxes.set_edgecolor([(*to_rgba(style.Q)[:3], w) for w in weights[i, j].clip(0, 1)])


@style.styled
def couplings(
    scores: Mapping[str, ArrayLike],
    weights: Mapping[str, ArrayLike],
    notes: Mapping[str, str] | None = None,
) -> style.Picture:
    """Draw one to five couplings side by side: scores in grey (dark is low), used cells framed.

    `scores` and `weights` map the same titles to (N, M) nats and to R with rows of sum 1; `notes`
    replaces the grey line, which tells the total score. The numbers are R in percent, where it is
    neither 0 nor 1, and the score elsewhere. Raises `ValueError` for other titles or shapes.
    """
    if list(scores) != list(weights) or not 1 <= len(scores) <= 5:
        raise ValueError(
            f"scores and weights: expected the same one to five titles, got {list(scores)} and "
            f"{list(weights)}"
        )
    picture = style.figure(9.0, 2.6)
    pitch = 8.85 / len(scores)
    told = []
    for column, (title, given) in enumerate(scores.items()):
        S, R = np.asarray(given, dtype=float), np.asarray(weights[title], dtype=float)
        if S.ndim != 2 or S.shape != R.shape:
            raise ValueError(f"weights[{title!r}]: expected shape {S.shape}, got {R.shape}")
        side = min(pitch - 0.25, 2.0)
        ax = place(picture, 0.3 + column * pitch, 0.4, side, side, kind="box")
        _small_table(ax, S, R)
        told.append(f"{title}: total score {number(float((S * R).sum()), 2)}")
        heading(ax, title, (notes or {}).get(title, told[-1].split(": ")[1]))
    picture.alt = f"Cells of a score matrix framed as a coupling uses them. {'; '.join(told)}."
    return picture


def _small_table(ax: Axes, scores: Array, weights: Array) -> None:
    rows, columns = scores.shape
    low, high = float(scores.min()), float(scores.max())
    ax.imshow(high - scores, cmap=style.lvm_n, vmin=0, vmax=2 * (high - low or 1), origin="lower",
              aspect="auto")  # fmt: skip
    ax.set(xlim=(-0.5, columns - 0.5), ylim=(-0.5, rows - 0.5))
    ticks(ax, x=range(columns), y=range(rows), x_labels=[str(j + 1) for j in range(columns)],
          y_labels=[str(i + 1) for i in range(rows)])  # fmt: skip
    ax.tick_params(length=0)
    boxes = PolyCollection([], facecolors="none", linewidths=2.6, zorder=3)
    ax.add_collection(boxes, autolim=False)
    _show_boxes(boxes, weights)
    for (i, j), score in np.ndenumerate(scores):
        part = float(weights[i, j])
        soft = 0.005 < part < 0.995
        ax.text(
            j, i, f"{100 * part:.0f}%" if soft else number(float(score)), ha="center", va="center",
            fontsize=9.5, fontweight="bold" if part > 0.5 else "normal",
            color=style.Q if soft else style.INK,
        )  # fmt: skip
