"""Knowledge switches: kinds of knowledge on, off or denied, and the density that is left.

To be noticed: "1 and 2" is the product over p(t), not the product.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ipywidgets as W
import numpy as np
from numpy.typing import ArrayLike, NDArray

from lvmlab.plots import style
from lvmlab.plots.frames import heading, live, number, place
from lvmlab.plots.knowledge import KnowledgeBars, KnowledgePlane
from lvmlab.widgets.given_recording import as_recording
from lvmlab.widgets.panel import Panel
from lvmlab.widgets.player import begin

__all__ = ["KnowledgeRecording", "knowledge_states", "knowledge_switches"]

Array = NDArray[np.float64]
SWITCH = ("off", "on", "not")
DIVIDED, MULTIPLIED, TOLD = "product over p(t)", "product", "p(t) discriminators"


@dataclass(frozen=True, eq=False)
class KnowledgeRecording:
    """Densities of a model and the truth on a square of the plane, for kinds that are e alone.

    `axis` (A,): places along both axes, evenly spaced. `density` (A, A): the model's p(t), first
    axis t_1. `kinds` maps a name to p(t|e), (2, A, A), e = 0 first; `existence` a name to p(e=1).
    `exact` (A, A) is the true p(t), `exact_existence` maps a name to the true p(e=1|t), (A, A).
    `lines`: places (P, 2) along the image of a grid of z. `told` maps a name to the model's own
    q(e=1|t), (A, A), for a third way to combine.
    """

    axis: ArrayLike
    density: ArrayLike
    kinds: Mapping[str, ArrayLike]
    existence: Mapping[str, float]
    exact: ArrayLike
    exact_existence: Mapping[str, ArrayLike]
    lines: tuple[ArrayLike, ...] = ()
    told: Mapping[str, ArrayLike] | None = None


class Composed:
    """A checked recording, and what it says under given switches; `ValueError` says what is off."""

    def __init__(self, recording: KnowledgeRecording | Mapping[str, Any]) -> None:
        r = as_recording(KnowledgeRecording, "recording", recording)
        self.axis = np.asarray(r.axis, dtype=float)
        if self.axis.ndim != 1 or len(self.axis) < 5 or not np.allclose(np.diff(self.axis, 2), 0):
            raise ValueError("recording, axis: expected five evenly spaced places or more")
        self.area = float(self.axis[1] - self.axis[0]) ** 2
        self.names = list(r.kinds)
        if not 1 <= len(self.names) <= 4 or not (
            set(self.names) == set(r.existence) == set(r.exact_existence)
        ):
            raise ValueError(
                "recording: expected one to four kinds, the same in kinds, existence and "
                f"exact_existence; got {self.names}, {list(r.existence)} and "
                f"{list(r.exact_existence)}"
            )
        self.density, self.exact = (
            self._square("density", r.density),
            self._square("exact", r.exact),
        )
        self.kinds = {n: self._square(f"kinds, {n}", v, 2) for n, v in r.kinds.items()}
        self.known = {
            n: self._square(f"exact_existence, {n}", v) for n, v in r.exact_existence.items()
        }
        self.existence = {n: float(v) for n, v in r.existence.items()}
        if not all(0 < v < 1 for v in self.existence.values()):
            raise ValueError(f"recording, existence: expected 0 < p(e=1) < 1, got {r.existence}")
        self.lines = r.lines
        self.told = {n: self._square(f"told, {n}", v) for n, v in (r.told or {}).items()}
        if self.told and set(self.told) != set(self.names):
            raise ValueError(f"recording, told: expected {self.names}, got {list(self.told)}")

    def _square(self, name: str, values: ArrayLike, first: int = 0) -> Array:
        array = np.asarray(values, dtype=float)
        shape = (*([first] if first else []), len(self.axis), len(self.axis))
        if array.shape != shape or not np.isfinite(array).all() or array.min() < 0:
            raise ValueError(
                f"recording, {name}: expected finite numbers of 0 and more, shape {shape}, got "
                f"{array.shape}"
            )
        return array

    @property
    def ways(self) -> list[str]:
        """How kinds can be combined."""
        return [DIVIDED, MULTIPLIED, *([TOLD] if self.told else [])]

    def model(self, switches: Mapping[str, str], way: str = DIVIDED) -> Array:
        """The model's p(t, e) of the kinds that are not off, (A, A), combined in one way."""
        if way == TOLD:
            return self._filtered(self.density, self.told, switches)
        chosen = [(n, int(s == "on")) for n, s in switches.items() if s != "off"]
        if not chosen:
            return self.density
        out = np.ones_like(self.density)
        for name, e in chosen:
            out = out * self.kinds[name][e] * self._share(name, e)
        if way == DIVIDED:
            out = out / np.maximum(self.density, 1e-300) ** (len(chosen) - 1)
        return out

    def truth(self, switches: Mapping[str, str]) -> Array:
        """The true p(t, e) of the kinds that are not off, (A, A)."""
        return self._filtered(self.exact, self.known, switches)

    def _filtered(
        self, density: Array, told: Mapping[str, Array], switches: Mapping[str, str]
    ) -> Array:
        for name, switch in switches.items():
            if switch != "off":
                density = density * (told[name] if switch == "on" else 1 - told[name])
        return density

    def information(self) -> list[float]:
        """I(k;t) of each kind under the model, nats: sum_e p(e) KL(p(t|e) || p(t))."""
        return [
            sum(
                self._share(name, e) * self._divergence(self.kinds[name][e], self.density)
                for e in (0, 1)
            )
            for name in self.names
        ]

    def entropy(self) -> list[float]:
        """H(e) of each kind, nats: its ceiling."""
        shares = [np.array([self._share(n, 0), self._share(n, 1)]) for n in self.names]
        return [float(-(s * np.log(s)).sum()) for s in shares]

    def mass(self, table: Array) -> float:
        """The integral over the square."""
        return float(table.sum() * self.area)

    def apart(self, a: Array, b: Array) -> float:
        """Total variation of two tables, each made a density first."""
        return float(0.5 * abs(a / self.mass(a) - b / self.mass(b)).sum() * self.area)

    def _share(self, name: str, e: int) -> float:
        return self.existence[name] if e else 1 - self.existence[name]

    def _divergence(self, a: Array, b: Array) -> float:
        ratio = np.log(np.maximum(a, 1e-300)) - np.log(np.maximum(b, 1e-300))
        return float((a * ratio).sum() * self.area)


def knowledge_switches(
    recording: KnowledgeRecording | Mapping[str, Any], start: Mapping[str, Any] | None = None
) -> Panel:
    """Make the panel: one switch a kind, how they are combined, and the flow's bent grid.

    `recording` is a `KnowledgeRecording` or a mapping with its fields. Left: the exact p(t|e) in
    blue, the model's in orange. Right: what each kind says about t under the ceiling of its
    entropy. `start` sets controls by name. Raises `ValueError` for arrays that do not fit.
    """
    composed = Composed(recording)
    with style.style():
        view = SwitchesPicture(composed)
    controls: dict[str, Any] = {
        name: W.ToggleButtons(
            options=SWITCH, description=name, style={"button_width": "52px"},
            layout=W.Layout(width="290px"),
        )
        for name in composed.names
    }  # fmt: skip
    controls["combine"] = W.Dropdown(
        options=composed.ways, description="combine", layout=W.Layout(width="260px")
    )
    controls["grid"] = W.Checkbox(False, description="bent grid", indent=False)
    begin(controls, start)
    return Panel(view.picture, view.show, **controls)


class SwitchesPicture:
    """The panel's picture with its moving marks; `show` puts one setting on it."""

    def __init__(self, composed: Composed) -> None:
        self.composed = composed
        self.picture = style.figure(9.0, 4.4)
        self.plane = KnowledgePlane(self.picture, 0.62, 0.55, 3.15, composed.axis, composed.lines)
        heading(self.plane.ax, "What is left", "blue: exact; orange: the model")
        self.bars = KnowledgeBars(
            self.picture, 4.6, 0.55, 4.1, composed.names, composed.information(), composed.entropy()
        )
        heading(self.bars.ax, "What each kind says about t", "hatched: more than its entropy H(e)")
        words = place(self.picture, 4.6, 1.6 + 0.52 * len(composed.names), 4.1, 0.7, "blank")
        self.name = words.text(0, 0.95, "", fontsize=13, fontweight="bold", va="top")
        self.told = words.text(0, 0.5, "", fontsize=10.5, color=style.NOTE, va="top")
        self.plane.set_live()
        self.bars.set_live()
        live(self.name, self.told)

    def show(self, combine: str = DIVIDED, grid: bool = False, **switches: str) -> str:
        """Show one setting; return the sentence that tells what it shows."""
        found = self.composed
        model = found.model(switches, combine)
        truth = found.truth(switches)
        self.plane.show(truth / found.mass(truth), model / found.mass(model), grid)
        self.bars.show([switches[name] != "off" for name in found.names])
        title = setting(switches)
        apart = number(found.apart(model, truth), 2)
        mass, exactly = _short(found.mass(model)), _short(found.mass(truth))
        self.name.set_text(title)
        self.told.set_text(
            f"mass {mass}, exactly {exactly}\ntotal variation to the exact density {apart}"
        )
        return f"{title}: mass {mass}, exactly {exactly}; total variation {apart}."


def _short(mass: float) -> str:
    """A mass in a few characters; a quotient of badly fitted densities may reach any size."""
    return number(mass, 3) if mass < 1000 else f"{mass:.1e}"


def setting(switches: Mapping[str, str]) -> str:
    """The switches in words: "upper and not left"."""
    words = [n if s == "on" else f"not {n}" for n, s in switches.items() if s != "off"]
    return " and ".join(words) or "all of p(t)"


def knowledge_states(
    recording: KnowledgeRecording | Mapping[str, Any], combine: str = DIVIDED
) -> style.Picture:
    """Draw four settings beside each other: off, the first kind, the second, and both.

    Arguments as for `knowledge_switches`, with two kinds or more. To be noticed: the last panel is
    the two before it multiplied, and divided once by the first.
    """
    found = Composed(recording)
    if len(found.names) < 2:
        raise ValueError("recording: expected two kinds or more to combine, got one")
    first, second = found.names[:2]
    picture = style.figure(9.0, 2.9)
    told = []
    settings: tuple[dict[str, str], ...] = (
        {},
        {first: "on"},
        {second: "on"},
        {first: "on", second: "on"},
    )
    for column, switches in enumerate(settings):
        plane = KnowledgePlane(picture, 0.5 + 2.15 * column, 0.5, 1.85, found.axis, found.lines)
        model, truth = found.model(switches, combine), found.truth(switches)
        plane.show(truth / found.mass(truth), model / found.mass(model), column == 0)
        apart = number(found.apart(model, truth), 2)
        heading(plane.ax, setting(switches), f"total variation {apart}")
        told.append(f"{setting(switches)} {apart}")
        if column:
            plane.ax.set_ylabel("")
            plane.ax.tick_params(labelleft=False)
    picture.alt = (
        "Exact densities in blue under the model's contours in orange, from all of p(t) to two "
        f"kinds at once; total variations: {', '.join(told)}."
    )
    return picture
