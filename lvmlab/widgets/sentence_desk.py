"""The desk: a sentence is typed, and read back, perturbed, joined to another, or others written.

To be noticed: without a code that is used, the same sentence comes back whatever was typed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import ipywidgets as W
import numpy as np

from lvmlab.plots.measure import Array
from lvmlab.plots.sentences import LINES, NEAREST, DeskPicture
from lvmlab.widgets.panel import Panel
from lvmlab.widgets.player import begin

__all__ = ["Voice", "sentence_desk"]

DEEDS = ("reconstruct", "perturb", "interpolate", "generate")


class Voice(Protocol):
    """What the desk asks of a model, in arrays and texts with words apart by blanks."""

    def encode(self, texts: Sequence[str]) -> tuple[Array, Array]:
        """Means and standard deviations of q(z|x), both (M, D)."""

    def decode(self, z: Array, temperature: float, seed: int) -> list[str]:
        """A text for each code (M, D)."""

    def nats(self, text: str, z: Array) -> tuple[list[str], Array]:
        """The words as the model reads them, and -log p of each given each code, (M, T)."""


def sentence_desk(
    voices: Mapping[str, Voice],
    texts: Sequence[str],
    suggestions: Sequence[str] | None = None,
    start: Mapping[str, Any] | None = None,
) -> Panel:
    """Make the desk of one or more models; texts: known sentences, for the map and the search.

    Controls: `model`; `A` and `B`, typed or chosen among the suggestions (the first 50 texts when
    None); `do`: reconstruct (the mean's text, then those of draws of q(z|A)), perturb (A's mean and
    places off it by `spread` standard deviations of q(z|A) in every latent), interpolate (straight
    from A's mean to B's), generate (draws of N(0, spread^2 I)); `temperature`, 0 for the likeliest
    word; `draw`, another draw of all. While a field is empty the picture stays. `start` sets
    controls by name. Raises `ValueError` for no models, fewer than 3 texts, and codes that do not
    fit them.
    """
    texts = list(texts)
    if not voices or len(texts) < NEAREST:
        raise ValueError(
            f"voices, texts: expected a model and {NEAREST} texts or more, got {len(voices)} and "
            f"{len(texts)}"
        )
    chosen = list(texts[:50] if suggestions is None else suggestions)
    if len(chosen) < 2:
        raise ValueError(f"suggestions: expected two texts or more, got {len(chosen)}")
    desk = Desk({name: Drawer(name, voice, texts) for name, voice in voices.items()}, texts)
    wide: dict[str, Any] = {"layout": W.Layout(width="420px")}
    controls: dict[str, Any] = {
        "model": W.Dropdown(options=list(voices), description="model"),
        "do": W.Dropdown(options=DEEDS, description="do"),
        "A": W.Combobox(value=chosen[0], options=chosen, description="A", **wide),
        "B": W.Combobox(value=chosen[1], options=chosen, description="B", **wide),
        "spread": W.FloatSlider(1.0, min=0, max=10, step=0.1, description="spread"),
        "temperature": W.FloatSlider(0.0, min=0, max=1, step=0.1, description="temperature"),
        "draw": W.IntSlider(0, min=0, max=99, description="draw"),
    }
    begin(controls, start)
    return Panel(desk.view.picture, desk.show, **controls)


class Drawer:
    """A model with the codes of the known texts and two axes to see them on."""

    def __init__(self, name: str, voice: Voice, texts: Sequence[str]) -> None:
        self.voice = voice
        self.codes = codes = np.asarray(voice.encode(texts)[0], dtype=float)
        if codes.ndim != 2 or len(codes) != len(texts) or codes.shape[1] < 2:
            raise ValueError(
                f"voices[{name!r}]: expected codes ({len(texts)}, D) with two latents or more, got "
                f"{codes.shape}"
            )
        self.middle = codes.mean(0)
        axes = np.linalg.svd(codes - self.middle, full_matrices=False)[2][:2].T
        self.axes = axes * np.sign(axes[abs(axes).argmax(0), range(2)])
        self.spread = max(float(((codes - self.middle) @ self.axes).std()), 1e-9)

    def on(self, z: Array) -> Array:
        """Places (M, 2) of codes on the map, in standard deviations of the known ones."""
        return (z - self.middle) @ self.axes / self.spread

    def nearest(self, z: Array, texts: Sequence[str], but: str) -> list[str]:
        """The known texts with the nearest codes, without the one that was asked about."""
        order = ((self.codes - z) ** 2).sum(1).argsort()
        found = dict.fromkeys(texts[i] for i in order[: 10 * NEAREST] if texts[i] != but)
        return list(found)[:NEAREST]


class Desk:
    """What happens behind the panel."""

    def __init__(self, drawers: Mapping[str, Drawer], texts: Sequence[str]) -> None:
        self.drawers, self.texts = dict(drawers), list(texts)
        self.view = DeskPicture()

    def show(
        self, model: str, do: str, A: str, B: str, spread: float, temperature: float, draw: int
    ) -> str:
        """Do one thing with A (and B); the sentence that tells it."""
        for name, text in (("A", A), ("B", B)):
            if not text.strip():
                return f"{name} is empty: type a sentence."
        drawer = self.drawers[model]
        mean, scale = (np.asarray(v, dtype=float) for v in drawer.voice.encode([A, B]))
        words, nats = drawer.voice.nats(A, mean)
        z, how = _places(do, mean, scale[0], spread, draw)
        lines = drawer.voice.decode(z, temperature, draw)
        self.view.show_words(words, nats[0], float(nats[1].sum()))
        self.view.show_texts(
            f"{do.capitalize()}, {model}", how, lines, drawer.nearest(mean[0], self.texts, A)
        )
        places = drawer.on(np.concatenate([z, mean]))
        self.view.show_codes(
            model, drawer.spread, drawer.on(drawer.codes), places[:-2], places[-2:]
        )
        different = len(set(lines))
        return (
            f"{model}, {do}: {different} different texts of {len(lines)}, the first: {lines[0]} "
            f"A costs {nats[0].sum():.1f} nats given its own code, {nats[1].sum():.1f} given B's."
        )


def _places(do: str, mean: Array, scale: Array, spread: float, draw: int) -> tuple[Array, str]:
    """The codes (7, D) to write from, and where they lie, in words."""
    noise = np.random.default_rng(draw).standard_normal((LINES, mean.shape[1]))
    if do == "interpolate":
        way = np.linspace(0, 1, LINES)[:, None]
        return (1 - way) * mean[0] + way * mean[1], "straight in z, A above and B below"
    if do == "generate":
        return spread * noise, f"z from N(0, {spread:g}² I), whatever A is"
    noise[0] = 0
    if do == "reconstruct":
        return mean[0] + scale * noise, "z: the mean of q(z|A), then six draws"
    return mean[0] + spread * scale * noise, f"z: the mean, then off it by {spread:g} sd"
