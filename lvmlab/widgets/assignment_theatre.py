"""The assignment theatre: who belongs to whom, as framed cells, as lines and as a joint.

To be noticed: drag a point and the three panels change together; small batches stop early and stay;
Sinkhorn's frames blur as epsilon grows.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import ipywidgets as W
import numpy as np

from lvmlab.plots import style
from lvmlab.plots.assignment import Scene, TheatrePicture, couplings
from lvmlab.plots.frames import number
from lvmlab.widgets.assignment_pairing import Pairing, rematch, sinkhorn
from lvmlab.widgets.assignment_worlds import KINDS, POINTS
from lvmlab.widgets.panel import Panel
from lvmlab.widgets.player import begin
from lvmlab.widgets.pointer import Pointer, Touch

SWEEPS = 24  # through the data, after `batch` has been moved
# Two score matrices of the course: one with a clear best pairing, one where no swap helps.
CLEAR = np.array([[7, 5, 3, 9], [2, 8, 6, 1], [4, 4, 9, 7], [8, 3, 5, 6]], dtype=float)
DEAD_END = np.array([[0, 1, -5], [-5, 0, 1], [1, -5, 0]], dtype=float)


def assignment_theatre(
    kind: str = "Gaussian", points: int = 6, seed: int = 4710, start: dict[str, Any] | None = None
) -> Panel:
    """Make the theatre: drag rows (blue) and latents (orange) of a small world, and pair them.

    `kind` is one of Gaussian, k-means with quota, PIT, sphere, Sinkhorn; `points` 4 to 12 rows;
    `seed` draws them (4710 has a dead end for batches of two). Controls: both of these; `epsilon`
    of Sinkhorn; `batch`, the rows re-paired at once: moving it pairs by chance and sweeps 24 times;
    `point`, `across` and `up` do what dragging does. Buttons: match (one sweep), descend
    (parameters go half of the way to their best), both, and start over. `start` sets controls.
    Raises `ValueError` for another kind, number of points, or name of a control.
    """
    with style.style():
        stage = Stage(kind, points, seed)
    panel = Panel(stage.picture, stage.draw, pointer=stage.pointer, extras=stage.buttons(),
                  **stage.controls)  # fmt: skip
    stage.panel = panel
    begin(stage.controls, start)
    return panel


class Stage:
    """What happens behind the theatre: the pairing, and controls that follow it."""

    panel: Panel | None = None

    def __init__(self, kind: str, points: int, seed: int) -> None:
        self.seed = seed
        self.play = Pairing(kind, points, seed)
        self.theatre = TheatrePicture()
        self.picture = self.theatre.picture
        self.pointer = Pointer(self.picture)
        self.pointer.on_pointer(self.drag)
        self.following = False  # controls are being set by the stage itself
        wide: dict[str, Any] = {
            "layout": W.Layout(width="205px"),
            "style": {"description_width": "auto"},
        }
        self.controls: dict[str, Any] = {
            "kind": W.Dropdown(options=list(KINDS), value=kind, description="kind", **wide),
            "points": W.IntSlider(
                points, min=POINTS[0], max=POINTS[1], description="points", **wide
            ),
            "epsilon": W.FloatLogSlider(
                0.1, min=-2, max=1, step=3 / 14, description="epsilon", readout_format=".2g", **wide
            ),
            "batch": W.IntSlider(points, min=2, max=points, description="batch", **wide),
            "point": W.Dropdown(options=[("x 1", 0)], description="point", **wide),
            "across": W.FloatSlider(0, min=-3, max=3, step=0.05, description="across", **wide),
            "up": W.FloatSlider(0, min=-3, max=3, step=0.05, description="up", **wide),
        }
        for name, follow in {
            "kind": self.restart,
            "points": self.restart,
            "epsilon": self.warm,
            "batch": self.sweep,
            "point": self.choose,
            "across": self.move,
            "up": self.move,
        }.items():
            self.controls[name].observe(follow, "value")
        self.restart()

    def buttons(self) -> list[W.Widget]:
        """Match, descend, both, start over."""
        made = []
        acts = {"match": self.match, "descend": self.descend, "both": self.both,
                "start over": self.restart}  # fmt: skip
        for name, act in acts.items():
            button = W.Button(description=name, layout=W.Layout(width="88px"))
            button.on_click(act)
            made.append(button)
        return made

    @property
    def epsilon(self) -> float:
        return self.controls["epsilon"].value

    # ------------------------------------------------------------------ what controls ask for
    @contextmanager
    def setting(self) -> Iterator[None]:
        """Set controls without following them, and draw once at the end."""
        with self.panel.together() if self.panel else nullcontext():
            self.following = True
            try:
                yield
            finally:
                self.following = False

    def restart(self, _: Any = None) -> None:
        """Begin with another world, its best pairing at once."""
        kind, points = self.controls["kind"].value, self.controls["points"].value
        self.play = Pairing(kind, points, self.seed)
        world, batch = self.play.world, self.controls["batch"]
        rows = [(f"x {i + 1}", i) for i in range(points)]
        latents = [(f"{world.latent} {j + 1}", points + j) for j in range(len(world.quota))]
        with self.setting():
            batch.max, batch.value, batch.disabled = points, points, self.play.soft
            self.controls["epsilon"].disabled = not self.play.soft
            self.controls["point"].options = rows + latents
            reach = round(world.limit - 0.2, 2)
            for name in ("across", "up"):
                self.controls[name].min, self.controls[name].max = -reach, reach
            self.theatre.frame(
                points,
                len(world.quota),
                world.limit,
                (world.across_limits, world.height_limits),
                (world.across_name, world.height_name),
                world.latent,
            )
            self.play.match(points, self.epsilon)
            self._find()

    def sweep(self, _: Any = None) -> None:
        """Pair by chance again, then sweep in batches of the new size."""
        if self.following:
            return
        self.play.restart()
        for _sweep in range(SWEEPS):
            self.play.match(self.controls["batch"].value, self.epsilon)

    def warm(self, _: Any = None) -> None:
        """Note what another temperature is worth."""
        self.play.note(self.epsilon)

    def choose(self, _: Any = None) -> None:
        """Let across and up say where the chosen point is."""
        if not self.following:
            with self.setting():
                self._find()

    def _find(self) -> None:
        world = self.play.world
        at = np.concatenate([world.x, world.places])[self.controls["point"].value]
        self.controls["across"].value, self.controls["up"].value = at

    def move(self, _: Any = None) -> None:
        """Put the chosen point where across and up say, then match what is in reach."""
        if not self.following:
            self._carry()

    def _carry(self) -> None:
        at = self.controls["across"].value, self.controls["up"].value
        self.play.world.move(self.controls["point"].value, at)
        self.play.match(self.controls["batch"].value, self.epsilon)

    def drag(self, touch: Touch) -> None:
        """Move the mark that is held; the controls follow."""
        if touch.target < 0 or touch.at is None:
            return
        with self.setting():
            self.controls["point"].value = touch.target
            self.controls["across"].value, self.controls["up"].value = touch.at
            self._carry()

    # ------------------------------------------------------------------------- what buttons do
    def match(self, _: Any = None) -> None:
        """Re-pair once through the data."""
        with self.setting():
            self.play.match(self.controls["batch"].value, self.epsilon)

    def descend(self, _: Any = None) -> None:
        """Move the parameters for this pairing; the places of the latents move along."""
        with self.setting():
            self.play.descend(self.epsilon)
            self._find()

    def both(self, _: Any = None) -> None:
        """Match, then descend: one step of CoLLike."""
        with self.setting():
            self.play.match(self.controls["batch"].value, self.epsilon)
            self.play.descend(self.epsilon)
            self._find()

    # ----------------------------------------------------------------------------- the picture
    def draw(self, epsilon: float, **_: Any) -> str:
        """Show the present pairing; return the sentence that tells its numbers."""
        play, world = self.play, self.play.world
        weights = play.weights(epsilon)
        value, best, chance = play.value(weights), play.best(), play.chance()
        information, most = play.information(weights)
        rows = np.eye(len(world.quota))
        even = (world.quota == 1).all()
        name = f"log {play.points}" if even else "H(z)"
        bound = f"I = {name} = {number(most, 2)} nats"
        if play.soft:
            bound = f"I = {number(information, 2)}; {name} = {number(most, 2)} nats"
        self.theatre.show(
            Scene(
                world.x,
                world.places,
                world.curve(),
                world.scores(),
                weights,
                weights if play.soft else rows[play.before],
                world.across,
                world.height,
                world.outlines(),
                np.array([*play.history[:-1], (value, best)]),
                self.controls["point"].value,
                (f"cost {number(-value, 2)}; by chance {number(-chance, 2)}", bound),
            )
        )
        self.pointer.mark(self.theatre.plane, np.concatenate([world.x, world.places]))
        pairs = " ".join(str(j + 1) for j in weights.argmax(1))
        return (
            f"{play.kind}, {play.points} rows own the {world.latent}s {pairs}: mean log p(x, z) "
            f"{number(value, 4)} nats, best pairing {number(best, 4)}, by chance "
            f"{number(chance, 4)}; information {number(information, 4)} of {number(most, 4)} nats."
        )


def assignment_states(epsilons: tuple[float, ...] = (10, 1, 0.1)) -> style.Picture:
    """Draw Sinkhorn's couplings of one matrix, the best pairing, and a dead end of batches of two.

    `epsilons` are one to three temperatures in nats, large to small; the best pairing is their
    limit 0.
    """
    if not 1 <= len(epsilons) <= 3:
        raise ValueError(f"epsilons: expected one to three temperatures, got {len(epsilons)}")
    identity, all_rows = np.arange(3), np.arange(4)
    weights = {f"epsilon {number(e)}": sinkhorn(CLEAR, e) for e in epsilons}
    weights["epsilon 0"] = np.eye(4)[rematch(CLEAR, all_rows, all_rows)]
    scores = dict.fromkeys(weights, CLEAR)
    best = float(DEAD_END[identity, rematch(DEAD_END, identity, identity)].sum())
    return couplings(
        {**scores, "Batch 2: stuck": DEAD_END},
        {**weights, "Batch 2: stuck": np.eye(3)},
        {"Batch 2: stuck": f"total 0, best {number(best)}"},
    )
