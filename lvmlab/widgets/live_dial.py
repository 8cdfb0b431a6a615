"""The collapse dial, live: posteriors and reconstructions while a model with two latents trains.

To be noticed: whether the ellipses leave the rings of the prior, and when.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lvmlab.plots import style
from lvmlab.plots.planes import Density, check_density, smoothed
from lvmlab.widgets.dial_films import DialRecording
from lvmlab.widgets.dial_marks import DialTable
from lvmlab.widgets.live import Live, Trainer, choices
from lvmlab.widgets.trained_dial import TrainedPicture

EARLIER = 8  # trainings whose curves stay on the trace


def live_dial(
    train: Trainer,
    steps: int,
    x: ArrayLike,
    labels: ArrayLike,
    ceiling: tuple[float, str],
    density: Density | tuple | ArrayLike | None = None,
    start: Mapping[str, Any] | None = None,
    ahead: int = 0,
    **options: Sequence[Any],
) -> Live:
    """Make a dial that trains while one watches; `train` and `ahead` as for `Live`.

    A frame is a mapping of `means`, `scales` (standard deviations) and `reconstructions`, each
    (N, 2) for the N rows of `x`, and `information` in nats. `labels`, `density` and `ceiling` as
    for `trained_dial`. Each of `options` becomes a control: a menu of strings or a slider of
    numbers, such as `objective=["VAE", "MIM"], hidden_units=[5, 20]`; `start` sets some by name.
    The curves of earlier trainings stay on the trace.
    """
    scene = DialScene(x, labels, ceiling, density, steps)
    return Live(scene, train, steps, choices(options, start), ahead)


class DialScene:
    """The picture of a live dial, made anew when the codes no longer fit into it."""

    def __init__(
        self,
        x: ArrayLike,
        labels: ArrayLike,
        ceiling: tuple[float, str],
        density: Density | tuple | ArrayLike | None,
        steps: int,
    ) -> None:
        rows = np.asarray(x, dtype=float)
        known = smoothed(rows) if density is None else check_density(density)
        self.data, self.steps = (rows, labels, known, ceiling), steps
        self.dial: TrainedPicture | None = None
        self.earlier: list[tuple[Any, str]] = []
        self.frames: Sequence[Any] = []
        self.run: tuple[Any, str] | None = None

    @property
    def picture(self) -> style.Picture:
        """The present picture."""
        assert self.dial is not None
        return self.dial.picture

    def show(self, name: str, steps: Sequence[int], frames: Sequence[Mapping[str, Any]]) -> str:
        """Show the last frame, and the information of all."""
        table = DialTable({name: _recording(steps, frames)}, *self.data)
        if self.dial is None or table.span > self.dial.table.span:
            with style.style():
                self.dial = TrainedPicture(table, (0, self.steps))
        if frames is not self.frames and self.run is not None and len(self.run[0]) > 1:
            self.earlier = [*self.earlier, self.run][-EARLIER:]
        self.frames = frames
        film = table.films[name, None]
        curve = np.stack([film.steps, film.information[0]], -1)
        self.run = curve, style.look(name).colour
        return self.dial.show_film(name, name, film, 0, -1, self.earlier)


def _recording(steps: Sequence[int], frames: Sequence[Mapping[str, Any]]) -> DialRecording:
    wanted = {"means", "scales", "reconstructions", "information"}
    if not isinstance(frames[-1], Mapping) or not wanted <= set(frames[-1]):
        raise ValueError(
            f"train: expected frames with {', '.join(sorted(wanted))}; got {frames[-1]!r:.80}"
        )
    arrays = {key: np.stack([np.asarray(f[key]) for f in frames])[None] for key in wanted}
    return DialRecording(**arrays, steps=np.asarray(steps))
