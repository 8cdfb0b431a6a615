"""Guess the pair: one code, several images, and the critic who plays the same game.

To be noticed: where all ellipses are the prior's ring nobody can guess, and the critic scores 0.
"""

from collections.abc import Mapping
from typing import Any

import ipywidgets as W
import numpy as np
from matplotlib.collections import EllipseCollection
from matplotlib.colors import to_rgba
from numpy.typing import NDArray

from lvmlab.plots import style
from lvmlab.plots.frames import halo, heading, live, number, place
from lvmlab.plots.latents import latent_axes, prior_rings
from lvmlab.plots.measure import Array
from lvmlab.widgets.panel import Panel
from lvmlab.widgets.player import begin
from lvmlab.widgets.pointer import Pointer, Touch

__all__ = ["guess_the_pair"]

SIZES = (2, 4, 8, 16)
ROUNDS = 50
COLUMNS = 8


class Player:
    """The codes of one model, checked, and what its own encoder says about pairs, in nats."""

    def __init__(self, name: str, given: Mapping[str, Any]) -> None:
        wanted = ("images", "z", "mean", "scale")
        if missing := [field for field in wanted if field not in given]:
            raise ValueError(f"{name}: expected {', '.join(wanted)}, but {missing} is missing")
        arrays = {field: np.asarray(given[field], dtype=float) for field in wanted}
        self.images, self.z, self.mean, self.scale = arrays.values()
        rows = len(self.images)
        if self.images.ndim != 3 or rows < max(SIZES):
            raise ValueError(
                f"{name}, images: expected (N, H, W) with {max(SIZES)} images or more, got "
                f"{self.images.shape}"
            )
        for field in wanted[1:]:
            if arrays[field].shape != (rows, 2) or not np.isfinite(arrays[field]).all():
                raise ValueError(
                    f"{name}, {field}: expected finite numbers of shape ({rows}, 2), a code in the "
                    f"plane for each image; got {arrays[field].shape}"
                )
        if (self.scale <= 0).any():
            raise ValueError(f"{name}, scale: expected positive standard deviations")

    def beliefs(self, rows: NDArray[Any], true: int) -> Array:
        """The critic's probabilities (K,) that each of these images made the code of one."""
        apart = (self.z[rows[true]] - self.mean[rows]) / self.scale[rows]
        score = -0.5 * (apart**2).sum(1) - np.log(self.scale[rows]).sum(1)
        weight = np.exp(score - score.max())
        return weight / weight.sum()

    def score(self, count: int) -> float:
        """The critic's mean score over all rounds, log K for certainty and 0 for chance."""
        dealt = [deal(turn, count, len(self.z)) for turn in range(ROUNDS)]
        right = [self.beliefs(rows, true)[true] for rows, true in dealt]
        return float(np.log(np.maximum(right, 1e-300)).mean() + np.log(count))


def deal(turn: int, count: int, rows: int) -> tuple[NDArray[Any], int]:
    """The images (K,) of a round and the place of the true one among them."""
    random = np.random.default_rng([turn, count])
    true = int(random.integers(count))
    return random.choice(rows, count, replace=False), true


def guess_the_pair(
    models: Mapping[str, Mapping[str, Any]], start: Mapping[str, Any] | None = None
) -> Panel:
    """Make the game: `model`, `K`, `round` and `guess`; the images can also be clicked.

    `models` maps a name to `images` (N, H, W), the codes `z` (N, 2) that were drawn for them, and
    `mean` and `scale` (N, 2) of the posteriors they were drawn from. Left: the code as a cross and
    the posteriors of K images, one of which made it. A guess shows the answer and what the critic
    believed, the encoder's own density divided by its sum. `start` sets controls by name.
    Raises `ValueError` for no models and for arrays that do not fit.
    """
    if not models:
        raise ValueError("models: expected one or more, got none")
    players = {name: Player(name, given) for name, given in models.items()}
    with style.style():
        view = GamePicture(players)
    pointer = Pointer(view.picture)
    wide: dict[str, Any] = {"style": {"description_width": "initial"}}
    controls: dict[str, Any] = {
        "model": W.Dropdown(options=list(players), description="model", **wide),
        "K": W.SelectionSlider(options=SIZES, value=8, description="K", **wide),
        "round": W.IntSlider(0, min=0, max=ROUNDS - 1, description="round", **wide),
        "guess": W.IntSlider(0, min=0, max=max(SIZES), description="guess (0: none)", **wide),
    }
    begin(controls, start)
    panel = Panel(view.picture, view.show, pointer=pointer, **controls)

    def mark(_: Any = None) -> None:
        pointer.mark(view.strip, view.centres(controls["K"].value))
        controls["guess"].max = controls["K"].value  # a slider cannot name an image not shown

    def renew(_: Any) -> None:
        controls["guess"].value = 0

    def press(touch: Touch) -> None:
        if touch.kind == "down" and touch.target >= 0:
            controls["guess"].value = touch.target + 1

    mark()
    controls["K"].observe(mark, "value")
    for name in ("model", "K", "round"):
        controls[name].observe(renew, "value")
    pointer.on_pointer(press)
    return panel


class GamePicture:
    """The picture of the game with its moving marks; `show` puts one round on it."""

    def __init__(self, players: Mapping[str, Player]) -> None:
        self.players = players
        self.kept: dict[tuple[str, int], float] = {}
        self.picture = style.figure(9.0, 4.5)
        self.plane = latent_axes(self.picture, 0.6, 0.55, 3.3, 3.0)
        prior_rings(self.plane)
        self.title, _ = heading(self.plane, " ", "cross: one code; ellipses: 1 sd")
        self.strip = place(self.picture, 4.5, 1.15, 4.3, 1.9, "blank")
        self.strip.set(xlim=(0, COLUMNS), ylim=(0, 3.53))
        heading(self.strip, "Which image made it?", "click, or move guess")
        self.marks = EllipseCollection(
            [1], [1], [0], units="xy", offsets=[(0, 0)], offset_transform=self.plane.transData,
            facecolors=[to_rgba(style.Q, 0.05)], edgecolors=style.Q, linewidths=0.8, zorder=3,
        )  # fmt: skip
        self.plane.add_collection(self.marks, autolim=False)
        (self.code,) = self.plane.plot([], [], "X", ms=11, color=style.INK, mec="white", zorder=7)
        self.labels = [
            halo(self.plane.text(0, 0, str(i + 1), ha="center", va="center", fontsize=10,
                                 color=style.Q, fontweight="bold", zorder=6), 3)
            for i in range(max(SIZES))
        ]  # fmt: skip
        self.tiles: list[Any] = []
        self.words: list[Any] = []
        self.bars: list[Any] = []
        self._strip(next(iter(players.values())).images[0])
        common: dict[str, Any] = {"transform": self.strip.transAxes, "va": "top"}
        self.verdict = self.strip.text(0, -0.08, "", fontsize=13, fontweight="bold", **common)
        self.told = self.strip.text(
            0, -0.24, "", fontsize=10.5, color=style.NOTE, linespacing=1.4, **common
        )
        live(self.title, self.marks, self.code, *self.labels, self.verdict, self.told)
        live(*self.tiles, *self.words, *self.bars)

    def _strip(self, image: Array) -> None:
        for i in range(max(SIZES)):
            left, top = i % COLUMNS, 3.45 - 1.75 * (i // COLUMNS)
            box = (left + 0.09, left + 0.91, top - 0.82, top)
            self.tiles.append(
                self.strip.imshow(
                    np.zeros_like(image), cmap=style.lvm_n, vmin=0, vmax=1, extent=box,
                    interpolation="nearest", aspect="auto", zorder=2,
                )
            )  # fmt: skip
            self.words.append(
                self.strip.text(left + 0.5, top - 0.9, "", ha="center", va="top", fontsize=10)
            )
            (bar,) = self.strip.plot([], [], lw=4, solid_capstyle="butt", color=style.Q, zorder=3)
            self.bars.append(bar)
        self.strip.set(xlim=(0, COLUMNS), ylim=(0, 3.53))

    def centres(self, count: int) -> Array:
        """Middles (K, 2) of the images that can be clicked."""
        at = np.arange(count)
        return np.stack([at % COLUMNS + 0.5, 3.04 - 1.75 * (at // COLUMNS)], 1)

    def show(self, **values: Any) -> str:
        """Show one round; return the sentence that tells what there is to see."""
        model, count, turn = values["model"], values["K"], values["round"]
        guess = min(values["guess"], count)  # the slider's end follows K a moment later
        player = self.players[model]
        rows, true = deal(turn, count, len(player.z))
        beliefs = player.beliefs(rows, true)
        self.title.set_text(model)
        self.title.set_color(style.look(model).colour)
        mean, scale = player.mean[rows], player.scale[rows]
        self.marks.set(offsets=mean, widths=2 * scale[:, 0], heights=2 * scale[:, 1])
        self.code.set_data(*player.z[rows[true]][:, None])
        for i in range(max(SIZES)):
            here = i < count
            for artist in (self.labels[i], self.tiles[i], self.words[i], self.bars[i]):
                artist.set_visible(here)
            if here:
                self._card(i, player, rows[i], mean[i], beliefs[i], guess, true)
        return self._words(model, count, turn, guess, true, beliefs[true])

    def _card(
        self, i: int, player: Player, row: int, mean: Array, belief: float, guess: int, true: int
    ) -> None:
        self.labels[i].set_position(tuple(np.clip(mean, -2.85, 2.85)))
        self.tiles[i].set_data(player.images[row])
        x, y = self.centres(i + 1)[i]
        known = guess > 0
        bold = known and i == true
        said = f"{i + 1}: {number(100 * belief, 0)} %" if bold else str(i + 1)
        self.words[i].set(
            text=said,
            fontweight="bold" if bold else "normal",
            color=style.Q if bold else style.INK if i + 1 == guess else style.NOTE,
        )
        self.bars[i].set_data([x - 0.41, x - 0.41 + 0.82 * belief], [y + 0.46, y + 0.46])
        self.bars[i].set_visible(known)

    def _words(
        self, model: str, count: int, turn: int, guess: int, true: int, belief: float
    ) -> str:
        mean = self.kept.setdefault((model, count), self.players[model].score(count))
        rule = f"chance 1 in {count}; certainty scores log {count} = {np.log(count):.2f} nats"
        game = f"The critic over {ROUNDS} rounds: {number(mean, 2)} nats"
        if guess == 0:
            self.verdict.set_text("")
            self.told.set_text(f"{rule}\n{game}")
            asked = f"{model}, round {turn}: one code, {count} images, which made it?"
            return f"{asked} {game}; {rule}."
        right = guess == true + 1
        nats = float(np.log(max(belief, 1e-300)) + np.log(count))
        self.verdict.set_text(f"{'Right' if right else 'No'}: it was {true + 1}")
        one = f"The critic gave it {number(100 * belief, 0)} %: {number(nats, 2)} nats"
        self.told.set_text(f"{one}\n{game} of {np.log(count):.2f} at most")
        return f"{model}, round {turn}: guess {guess}, it was {true + 1}. {one}. {game}; {rule}."
