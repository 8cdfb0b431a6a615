"""Recorded trainings for the joint lens: films of a model and of an objective's target."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lvmlab.plots.measure import Array, Grid
from lvmlab.widgets.given_recording import as_recording


@dataclass(frozen=True, eq=False)
class Recording:
    """A training seen as two films: the model's joint and the objective's target at each frame.

    `model` is (T, X, Z); `target` is (T, X, Z), or (X, Z) if it stands still. `steps` (T,) are the
    training steps of the frames (default 0 ... T-1). `pairs`, (N, 2) or (T, N, 2), are dots of x
    and z shown in place of the target's heat (complete likelihood); over a continuous z their
    information is the ceiling log N, and their KL to a density is not finite.
    """

    model: ArrayLike
    target: ArrayLike
    steps: ArrayLike | None = None
    pairs: ArrayLike | None = None


class Film:
    """A checked recording with its numbers at each frame, in nats: `kl` = `misfit` + `gap`.

    `misfit` is KL(q(x) || p(x)), `gap` the mean KL(q(z|x) || p(z|x)), `gap_at_x` (T, X) its density
    over x. `ceiling` is the number N of pairs where q is a set of pairs over a continuous z, else
    0: with it `q_information` is log N, `kl` the misfit alone and `gap` NaN. Raises `ValueError`
    that names the recording.
    """

    def __init__(self, name: str, recording: Recording | Mapping[str, Any], grid: Grid) -> None:
        recording = as_recording(Recording, name, recording)
        self.model = grid.check(recording.model, f"{name}, model")
        if self.model.ndim != 3 or len(self.model) == 0:
            raise ValueError(
                f"{name}, model: expected frames of shape (T, X, Z), got {self.model.shape}; "
                "a single joint is model[None]"
            )
        frames = len(self.model)
        target = grid.check(recording.target, f"{name}, target")
        if target.ndim > 3 or (target.ndim == 3 and len(target) not in (1, frames)):
            raise ValueError(
                f"{name}, target: expected {frames} frames as in model, or one; got {target.shape}"
            )
        self.target = np.broadcast_to(target, self.model.shape)
        self.steps = _steps(name, recording.steps, frames)
        self.pairs = _pairs(name, recording.pairs, frames)
        capped = self.pairs is not None and not grid.discrete_z
        self.ceiling = self.pairs.shape[-2] if self.pairs is not None and capped else 0
        self._measure(grid)

    def _measure(self, grid: Grid) -> None:
        frames = list(zip(self.target, self.model, strict=True))
        parts = [grid.split(q, p) for q, p in frames]
        self.misfit = np.array([misfit for misfit, _ in parts])
        self.gap_at_x = np.array([at_x for _, at_x in parts])
        self.gap = self.gap_at_x.sum(-1) * grid.dx
        self.kl = np.array([float(grid.kl(q, p)) for q, p in frames])
        self.p_information = np.array([float(grid.information(p)) for _, p in frames])
        if self.ceiling:
            self.q_information = np.full(len(frames), np.log(self.ceiling))
            self.kl, self.gap = self.misfit, np.full(len(frames), np.nan)
            self.gap_at_x = np.zeros_like(self.gap_at_x)
        else:
            self.q_information = np.array([float(grid.information(q)) for q, _ in frames])

    def joined(self, later: "Film") -> "Film":
        """Return this film with the frames of a later one after its own, nothing measured again."""
        both = object.__new__(Film)
        vars(both).update(vars(self))
        for field in ("model", "target", "steps", "misfit", "gap_at_x", "gap", "kl"):
            setattr(both, field, np.concatenate([getattr(self, field), getattr(later, field)]))
        for field in ("p_information", "q_information"):
            setattr(both, field, np.concatenate([getattr(self, field), getattr(later, field)]))
        if self.pairs is not None and later.pairs is not None:
            both.pairs = np.concatenate([self.pairs, later.pairs])
        return both

    def pairs_at(self, frame: int) -> Array | None:
        """Return the dots (N, 2) of one frame, if the recording has any."""
        if self.pairs is None or self.pairs.ndim == 2:
            return self.pairs
        return self.pairs[frame]


def films(grid: Grid, recordings: Mapping[str, Any]) -> tuple[dict[str, dict[Any, Film]], list]:
    """Check recordings; return films by objective and variant (None: no variants), and variants."""
    if not recordings:
        raise ValueError("recordings: expected at least one objective, got none")
    made: dict[str, dict[Any, Film]] = {}
    variants: list = []
    for name, given in recordings.items():
        single = isinstance(given, Recording) or (isinstance(given, Mapping) and "model" in given)
        choices = {None: given} if single else dict(given)
        made[name] = {
            v: Film(name if single else f"{name}, {v}", r, grid) for v, r in choices.items()
        }
        variants += [v for v in choices if not single and v not in variants]
    every = [(name, film) for name, choices in made.items() for film in choices.values()]
    for name, film in every:
        if not np.array_equal(film.steps, every[0][1].steps):
            raise ValueError(
                f"{name}, steps: expected the {len(every[0][1].steps)} steps of the first "
                f"recording, got {len(film.steps)} that differ; record all at the same steps"
            )
    for name, choices in made.items():
        if None not in choices and set(choices) != set(variants):
            raise ValueError(
                f"{name}: expected a recording for each of {variants}, got {list(choices)}"
            )
    return made, variants


def _steps(name: str, steps: ArrayLike | None, frames: int) -> NDArray[Any]:
    out = np.arange(frames) if steps is None else np.asarray(steps)
    if out.shape != (frames,) or (np.diff(out) <= 0).any():
        raise ValueError(
            f"{name}, steps: expected {frames} increasing numbers, one for each frame; "
            f"got shape {out.shape}"
        )
    return out


def _pairs(name: str, pairs: ArrayLike | None, frames: int) -> Array | None:
    if pairs is None:
        return None
    out = np.asarray(pairs, dtype=float)
    fits = out.ndim == 2 or (out.ndim == 3 and len(out) == frames)
    if not fits or out.shape[-1] != 2 or not np.isfinite(out).all():
        raise ValueError(
            f"{name}, pairs: expected finite numbers of shape (N, 2) or ({frames}, N, 2), "
            f"x and z; got shape {out.shape}"
        )
    return out
