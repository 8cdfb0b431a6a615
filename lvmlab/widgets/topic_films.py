"""Recorded ensembles of categories: posteriors of the same texts, accuracies, steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lvmlab.widgets.given_recording import as_recording


@dataclass(frozen=True, eq=False)
class TopicRecording:
    """What M members of an ensemble say about N rows, at T recorded evaluations.

    `posteriors` (M, T, N, K): entry m is the aligned average of the first m + 1 members, category k
    being the one that is matched with class k. `single` (M, T): accuracy of each member alone, in
    percent. `stored` (T,): accuracy of the latents that the first member has stored for its
    training rows, in percent, where it has any. `steps` (T,): default 0 ... T - 1.
    `lvmlab.studies.ensemble.topic_recording` makes all this from the members' posteriors.
    """

    posteriors: ArrayLike
    single: ArrayLike
    stored: ArrayLike | None = None
    steps: ArrayLike | None = None


class TopicFilm:
    """A checked recording as arrays; `ValueError` that names the recording."""

    def __init__(self, name: str, recording: TopicRecording | Mapping[str, Any], rows: int) -> None:
        recording = as_recording(TopicRecording, name, recording)
        self.posteriors = np.asarray(recording.posteriors, dtype=float)
        shape = self.posteriors.shape
        if len(shape) != 4 or 0 in shape or shape[2] != rows:
            raise ValueError(
                f"{name}, posteriors: expected shape (M, T, {rows}, K), members and evaluations "
                f"first, got {shape}"
            )
        if not np.isfinite(self.posteriors).all() or abs(self.posteriors.sum(-1) - 1).max() > 1e-4:
            raise ValueError(f"{name}, posteriors: expected finite rows that sum to 1")
        self.members, self.frames, _, self.categories = shape
        self.single = _array(name, "single", recording.single, shape[:2])
        self.stored = (
            None
            if recording.stored is None
            else _array(name, "stored", recording.stored, (self.frames,))
        )
        steps = np.arange(self.frames) if recording.steps is None else recording.steps
        self.steps = _array(name, "steps", steps, (self.frames,))
        if (np.diff(self.steps) <= 0).any():
            raise ValueError(f"{name}, steps: expected increasing numbers, got {self.steps}")

    def table(self, members: int, frame: int, labels: NDArray[Any], classes: int) -> NDArray[Any]:
        """Rows in each category and class, (K, C)."""
        given = self.posteriors[members - 1, frame].argmax(1)
        counts = np.bincount(given * classes + labels, minlength=self.categories * classes)
        return counts.reshape(self.categories, classes)

    def accuracies(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Percent of rows whose category is that of their label, (M, T)."""
        return 100 * (self.posteriors.argmax(-1) == labels).mean(-1)


def _array(name: str, field: str, values: ArrayLike, shape: tuple) -> NDArray[Any]:
    out = np.asarray(values, dtype=float)
    if out.shape != shape or not np.isfinite(out).all():
        raise ValueError(
            f"{name}, {field}: expected finite numbers of shape {shape}, got shape {out.shape}"
        )
    return out
