"""Recorded trainings with two latents: posteriors, reconstructions, information of every seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lvmlab.widgets.given_recording import as_recording

ACTIVE = 0.01  # variance of the posterior means from which a latent counts as active


@dataclass(frozen=True, eq=False)
class DialRecording:
    """What an encoder and a decoder make of N rows of data, for S seeds at T frames.

    `means`, `scales` (standard deviations) and `reconstructions` are (S, T, N, 2), the last in the
    units of x; `information` is (S, T), in nats. `active` (S, T) counts active units (default:
    latents whose posterior means vary by more than 0.01); `steps` (T,) are the training steps of
    the frames (default 0 ... T-1). A final state alone has T = 1.
    """

    means: ArrayLike
    scales: ArrayLike
    reconstructions: ArrayLike
    information: ArrayLike
    active: ArrayLike | None = None
    steps: ArrayLike | None = None


class DialFilm:
    """A checked recording as arrays of `DialRecording`; `ValueError` that names the recording."""

    def __init__(self, name: str, recording: DialRecording | Mapping[str, Any], rows: int) -> None:
        recording = as_recording(DialRecording, name, recording)
        means = np.asarray(recording.means)
        if means.ndim != 4 or means.shape[2:] != (rows, 2) or 0 in means.shape:
            raise ValueError(
                f"{name}, means: expected shape (S, T, {rows}, 2), seeds and frames first, then "
                f"the rows of x and two latents; got {means.shape}"
            )
        self.means = _array(name, "means", means, means.shape)
        self.scales = _array(name, "scales", recording.scales, means.shape)
        if (self.scales <= 0).any():
            raise ValueError(
                f"{name}, scales: expected positive standard deviations, got a smallest value of "
                f"{self.scales.min():.3g}; are these logarithms? Try np.exp"
            )
        self.reconstructions = _array(
            name, "reconstructions", recording.reconstructions, means.shape
        )
        self.seeds, self.frames = means.shape[:2]
        both = (self.seeds, self.frames)
        self.information = _array(name, "information", recording.information, both)
        moved = (means.var(2) > ACTIVE).sum(-1)
        self.active = (
            moved if recording.active is None else _array(name, "active", recording.active, both)
        )
        steps = np.arange(self.frames) if recording.steps is None else recording.steps
        self.steps = _array(name, "steps", steps, (self.frames,))
        if (np.diff(self.steps) <= 0).any():
            raise ValueError(f"{name}, steps: expected increasing numbers, got {self.steps}")


def dial_films(recordings: Mapping[str, Any], rows: int) -> tuple[dict[Any, DialFilm], list, list]:
    """Check recordings; return films by (objective, width), the objectives and the widths.

    Without widths the only one is None.
    """
    if not recordings:
        raise ValueError("recordings: expected at least one objective, got none")
    made: dict[Any, DialFilm] = {}
    widths: list = []
    for name, given in recordings.items():
        single = isinstance(given, DialRecording) or (
            isinstance(given, Mapping) and "means" in given
        )
        choices = {None: given} if single else dict(given)
        widths = widths or list(choices)
        if not choices or list(choices) != widths:
            raise ValueError(
                f"{name}: expected a recording for each of {widths}, got {list(choices)}"
            )
        for width, one in choices.items():
            made[name, width] = DialFilm(name if single else f"{name}, {width}", one, rows)
    first = next(iter(made.values()))
    for (name, _), film in made.items():
        if film.seeds != first.seeds or not np.array_equal(film.steps, first.steps):
            raise ValueError(
                f"{name}: expected {first.seeds} seeds at the {first.frames} steps of the first "
                f"recording, got {film.seeds} at {film.frames}; record all alike"
            )
    return made, list(recordings), widths


def _array(name: str, field: str, values: ArrayLike, shape: tuple) -> NDArray[Any]:
    out = np.asarray(values)
    if out.shape != shape:
        raise ValueError(f"{name}, {field}: expected shape {shape}, got {out.shape}")
    if not np.isfinite(out).all():
        raise ValueError(
            f"{name}, {field}: expected finite numbers, got {(~np.isfinite(out)).sum()} that are "
            "not; cut the recording before training failed"
        )
    return out
