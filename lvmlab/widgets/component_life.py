"""Component life: a recorded training of a mixture, stepped through.

To be noticed: colours vanish under one objective and stay under the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as W
import numpy as np
from numpy.typing import ArrayLike, NDArray

from lvmlab.plots import style
from lvmlab.plots.component_life import ALIVE, LifeAreas, alive, mode_tiles
from lvmlab.plots.frames import heading, live, number, place
from lvmlab.widgets.given_recording import as_recording
from lvmlab.widgets.panel import Panel
from lvmlab.widgets.player import begin, player

__all__ = ["LifeRecording", "component_life", "component_states"]


@dataclass(frozen=True, eq=False)
class LifeRecording:
    """What became of K components under one objective, in S seeds and T looks.

    `shares` (S, T, K): the average of q(k|x), rows that sum to 1. `modes` (S, T, K, H, W), from 0
    to 1: what the decoder makes of the mean of each p(z|k). `entropy` (S, T): the mean of H(k|x),
    nats. `steps` (T,): default 0 ... T - 1.
    """

    shares: ArrayLike
    modes: ArrayLike | None = None
    entropy: ArrayLike | None = None
    steps: ArrayLike | None = None


class LifeFilm:
    """A checked recording as arrays; `ValueError` that names the recording."""

    def __init__(self, name: str, recording: LifeRecording | Mapping[str, Any]) -> None:
        recording = as_recording(LifeRecording, name, recording)
        self.shares = np.asarray(recording.shares, dtype=float)
        shape = self.shares.shape
        if len(shape) != 3 or 0 in shape or shape[1] < 2 or not 2 <= shape[2] <= 10:
            raise ValueError(
                f"{name}, shares: expected shape (S, T, K), seeds and looks first, two looks and "
                f"two components or more and ten components at most; got {shape}"
            )
        if not np.isfinite(self.shares).all() or abs(self.shares.sum(-1) - 1).max() > 1e-3:
            raise ValueError(f"{name}, shares: expected finite rows that sum to 1")
        self.seeds, self.frames, self.components = shape
        self.modes = _optional(name, "modes", recording.modes, shape, 2)
        self.entropy = _optional(name, "entropy", recording.entropy, shape[:2], 0)
        steps = np.arange(self.frames) if recording.steps is None else np.asarray(recording.steps)
        if steps.shape != (self.frames,) or (np.diff(steps) <= 0).any():
            raise ValueError(
                f"{name}, steps: expected {self.frames} increasing numbers, got {steps}"
            )
        self.steps = steps


def component_life(recordings: Mapping[str, Any], start: Mapping[str, Any] | None = None) -> Panel:
    """Make the panel over recordings by objective: `objective`, `seed`, `step`, and play.

    `recordings` maps an objective's name to a `LifeRecording` or a mapping with its fields; all
    share seeds, steps and components. Left: the average q(k|x), stacked. Right: what each mode of
    the prior decodes to at this step, with its share, "off" below 2 %. The last look comes first;
    `start` sets controls by name. Raises `ValueError` for arrays that do not fit.
    """
    films = _films(recordings)
    first = next(iter(films.values()))
    with style.style():
        view = LifePicture(films)
    last = first.frames - 1
    step = W.IntSlider(last, min=0, max=last, description="step", readout=False)
    controls: dict[str, Any] = {
        "objective": W.Dropdown(
            options=list(films), description="objective", layout=W.Layout(width="260px")
        ),
        "seed": W.IntSlider(0, min=0, max=first.seeds - 1, description="seed"),
        "step": step,
    }
    begin(controls, start)
    return Panel(view.picture, view.show, extras=player(step), **controls)


class LifePicture:
    """The panel's picture with its moving marks; `show` puts one look on it."""

    def __init__(self, films: Mapping[str, LifeFilm]) -> None:
        self.films = films
        first = next(iter(films.values()))
        self.picture = style.figure(9.0, 4.3)
        self.areas = LifeAreas(self.picture, 0.75, 0.6, 4.3, 2.65, first.steps, first.components)
        _title(self.areas, "Who is left", "in use: average posterior above 2 %")
        self.modes = place(self.picture, 5.6, 0.85, 3.2, 1.64, "blank")
        heading(self.modes, "What each mode decodes to", "below: its share of the data")
        self.tiles, self.words = mode_tiles(self.modes, first.components)
        top: dict[str, Any] = {"transform": self.modes.transAxes, "va": "bottom"}
        self.name = self.modes.text(0, 1.66, "", fontsize=13, fontweight="bold", **top)
        self.told = self.modes.text(0, 1.5, "", fontsize=10.5, color=style.NOTE, **top)
        self.areas.set_live()
        live(*self.tiles, *self.words, self.name, self.told)

    def show(self, objective: str, seed: int, step: int) -> str:
        """Show one look of one run; return the sentence that tells what it shows."""
        film = self.films[objective]
        self.areas.show(film.shares[seed], step)
        for k, (tile, word) in enumerate(zip(self.tiles, self.words, strict=True)):
            share = film.shares[seed, step, k]
            if film.modes is not None:
                tile.set_data(film.modes[seed, step, k])
            word.set(
                text=f"{100 * share:.0f} %" if share > ALIVE else "off",
                color=style.INK if share > ALIVE else style.AXIS,
            )
        left = int(alive(film.shares[seed, step]))
        said = f"{left} of {film.components} in use"
        if film.entropy is not None:
            said += f", H(k|x) = {number(float(film.entropy[seed, step]), 2)} nats"
        self.name.set(
            text=f"{objective}, step {number(float(film.steps[step]))}",
            color=style.look(objective).colour,
        )
        self.told.set_text(said)
        most = film.shares[seed, step].max()
        return (
            f"{objective}, seed {seed}, step {number(float(film.steps[step]))}: {said}, the "
            f"largest holds {number(100 * float(most), 0)} percent."
        )


def component_states(
    recordings: Mapping[str, Any], seed: int = 0, title: str = ""
) -> style.Picture:
    """Draw whole recordings: one seed of each objective in a large panel, its others beside it.

    One to three objectives, as rows; arguments as for `component_life`. To be noticed: how many
    colours are left at the right, in every seed.
    """
    films = _films(recordings)
    if len(films) > 3:
        raise ValueError(f"recordings: expected one to three objectives, got {len(films)}")
    height = 2.85 * len(films) + 0.25
    picture = style.figure(9.0, height)
    told = []
    for row, (name, film) in enumerate(films.items()):
        low = height - 2.85 * (row + 1) + 0.35
        big = LifeAreas(picture, 0.75, low, 4.9, 1.45, film.steps, film.components)
        big.show(film.shares[seed])
        _title(
            big, title or name, f"seed {seed}; above: components in use", style.look(name).colour
        )
        others = [s for s in range(film.seeds) if s != seed][:2]
        for place_, other in enumerate(others):
            small = LifeAreas(
                picture, 6.45, low + 1.15 * (len(others) - 1 - place_) , 2.3, 0.75, film.steps,
                film.components, strip=False,
            )  # fmt: skip
            small.show(film.shares[other])
            left = int(alive(film.shares[other, -1]))
            heading(small.ax, "", f"seed {other}: {left} left")
            if place_ < len(others) - 1 or row < len(films) - 1:
                small.ax.set_xlabel("")
                small.ax.tick_params(labelbottom=False)
        if row < len(films) - 1:
            big.ax.set_xlabel("")
        ends = [int(n) for n in alive(film.shares[:, -1])]
        told.append(f"{name}: {_spread(ends)} of {film.components} components left")
    picture.alt = f"Average posteriors along the training, stacked. {'; '.join(told)}."
    return picture


def _title(areas: LifeAreas, title: str, note: str, colour: str = style.INK) -> None:
    heading(areas.strip if areas.strip is not None else areas.ax, title, note, colour)


def _spread(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def _films(recordings: Mapping[str, Any]) -> dict[str, LifeFilm]:
    if not recordings:
        raise ValueError("recordings: expected at least one objective, got none")
    films = {name: LifeFilm(name, given) for name, given in recordings.items()}
    first = next(iter(films.values()))
    for name, film in films.items():
        same = film.shares.shape == first.shares.shape and np.array_equal(film.steps, first.steps)
        if not same:
            raise ValueError(
                f"{name}: expected the seeds, steps and components of the first recording, "
                f"{first.shares.shape}, got {film.shares.shape}, or other steps"
            )
    return films


def _optional(
    name: str, field: str, values: ArrayLike | None, shape: tuple, more: int
) -> NDArray[Any] | None:
    if values is None:
        return None
    array = np.asarray(values, dtype=float)
    if array.ndim != len(shape) + more or array.shape[: len(shape)] != shape:
        raise ValueError(
            f"{name}, {field}: expected {len(shape) + more} axes that begin with {shape}, got "
            f"{array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name}, {field}: expected finite numbers")
    return array
