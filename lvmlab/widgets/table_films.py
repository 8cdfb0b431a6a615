"""Recorded trainings of two joints on a finite table: what is given, what is learned, in nats."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lvmlab.plots.measure import Array, Grid
from lvmlab.widgets.given_recording import as_recording


@dataclass(frozen=True, eq=False)
class TableRecording:
    """A training of an encoding joint q and a decoding joint p on one table.

    `q` = q(x) q(z|x) and `p` = p(z) p(x|z) are probabilities (T, X, Z), as learned at each of T
    frames. `anchor_x` (X,) and `anchor_z` (Z,) are what is given: the data and the prior, hatted in
    the course. `loss` (T,) is the objective's value in nats; `steps` (T,) are the training steps of
    the frames (default 0 ... T-1).
    """

    q: ArrayLike
    p: ArrayLike
    anchor_x: ArrayLike
    anchor_z: ArrayLike
    loss: ArrayLike
    steps: ArrayLike | None = None


class TableFilm:
    """A checked recording with the anchored joints and the numbers of each frame, in nats.

    `encoded` is E = anchor_x q(z|x) and `decoded` D = anchor_z p(x|z), both (T, X, Z); M is their
    even mixture. (T,): `mixture_entropy` H(M), `apart` SKL(q, p) = (KL(q || p) + KL(p || q)) / 2,
    `mixture_information` I_M, and `information`, a (T,) for each of E, D, q and p. Where q or p
    gives a value no mass, its conditional is taken as even. Raises `ValueError` that names the
    recording.
    """

    def __init__(self, name: str, recording: TableRecording | Mapping[str, Any]) -> None:
        recording = as_recording(TableRecording, name, recording)
        q = np.asarray(recording.q, dtype=float)
        if q.ndim != 3 or not len(q):
            raise ValueError(
                f"{name}, q: expected frames of shape (T, X, Z), got {q.shape}; "
                "a single table is q[None]"
            )
        self.grid = Grid.table(q.shape[1:])
        self.q, self.p = (
            self.grid.check(np.asarray(table, dtype=float), f"{name}, {label}", tolerance=1e-4)
            for label, table in (("q", q), ("p", recording.p))
        )
        if self.p.shape != q.shape:
            raise ValueError(f"{name}, p: expected shape {q.shape} as q has, got {self.p.shape}")
        self.anchor_x = _anchor(name, "anchor_x", recording.anchor_x, q.shape[1])
        self.anchor_z = _anchor(name, "anchor_z", recording.anchor_z, q.shape[2])
        self.loss = _frames(name, "loss", recording.loss, len(q))
        self.steps = (
            np.arange(len(q))
            if recording.steps is None
            else _frames(name, "steps", recording.steps, len(q))
        )
        if (np.diff(self.steps) <= 0).any():
            raise ValueError(f"{name}, steps: expected increasing numbers, got {self.steps}")
        self._measure()

    def _measure(self) -> None:
        grid = self.grid
        self.encoded = self.anchor_x[:, None] * _given(self.q, 2)
        self.decoded = self.anchor_z * _given(self.p, 1)
        mixture = 0.5 * (self.encoded + self.decoded)
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.where(mixture > 0, np.log(mixture), 0.0)
        self.mixture_entropy = -(mixture * logs).sum((1, 2))
        self.mixture_information = grid.information(mixture)
        self.apart = 0.5 * (grid.kl(self.q, self.p) + grid.kl(self.p, self.q))
        self.information = {
            letter: grid.information(table) for letter, table in self.tables().items()
        }

    def tables(self) -> dict[str, Array]:
        """Return the four joints (T, X, Z) by their letter: E, D, q and p."""
        return {"E": self.encoded, "D": self.decoded, "q": self.q, "p": self.p}

    def traces(self) -> dict[str, Array]:
        """Return the four curves (T,) in nats, by the name that stands beside each."""
        return {
            "loss": self.loss,
            "H(M)": self.mixture_entropy,
            "I in M": self.mixture_information,
            "SKL(q, p)": self.apart,
        }


def table_films(recordings: Mapping[str, Any]) -> tuple[dict[str, dict[Any, TableFilm]], list]:
    """Check recordings; return films by objective and seed of the anchors, and the seeds."""
    if not recordings:
        raise ValueError("recordings: expected at least one objective, got none")
    made: dict[str, dict[Any, TableFilm]] = {}
    for name, given in recordings.items():
        single = isinstance(given, TableRecording) or (isinstance(given, Mapping) and "q" in given)
        choices = {0: given} if single else dict(given)
        made[name] = {s: TableFilm(f"{name}, seed {s}", r) for s, r in choices.items()}
    seeds = list(next(iter(made.values())))
    first = next(iter(next(iter(made.values())).values())) if seeds else None
    for name, choices in made.items():
        if list(choices) != seeds or first is None:
            raise ValueError(
                f"{name}: expected the same seeds of the anchors for each objective, at least one; "
                f"got {list(choices)} and {seeds}"
            )
        for seed, film in choices.items():
            if film.q.shape[1:] != first.q.shape[1:] or not np.array_equal(film.steps, first.steps):
                raise ValueError(
                    f"{name}, seed {seed}: expected tables {first.q.shape[1:]} at the "
                    f"{len(first.steps)} steps of the first recording; got {film.q.shape[1:]} at "
                    f"{len(film.steps)} steps; record all at the same steps"
                )
    return made, seeds


def _given(joint: Array, axis: int) -> Array:
    """Divide a joint (T, X, Z) by its sums over one axis; no mass there gives an even split."""
    total = joint.sum(axis, keepdims=True)
    even = np.full_like(joint, 1 / joint.shape[axis])
    return np.divide(joint, total, out=even, where=total > 0)


def _anchor(name: str, field: str, values: ArrayLike, size: int) -> Array:
    out = np.asarray(values, dtype=float)
    if out.shape != (size,) or not np.isfinite(out).all() or out.min() < 0:
        raise ValueError(
            f"{name}, {field}: expected {size} probabilities, one for each value, got shape "
            f"{out.shape}"
        )
    if abs(out.sum() - 1) > 1e-4:
        raise ValueError(f"{name}, {field}: expected a sum of 1, got {out.sum():.6g}")
    return out


def _frames(name: str, field: str, values: ArrayLike, count: int) -> Array:
    out = np.asarray(values)
    if out.shape != (count,) or np.isnan(out.astype(float)).any():
        raise ValueError(
            f"{name}, {field}: expected {count} numbers, one for each frame; got shape {out.shape}"
        )
    return out
