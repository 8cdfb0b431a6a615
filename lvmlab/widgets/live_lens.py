"""The joint lens, live: a model and the target of its objective while it trains.

To be noticed: learning is the orange outline moving onto the blue shape, or not.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lvmlab.plots import style
from lvmlab.plots.measure import Grid
from lvmlab.widgets.joint_lens import LensPicture, lens_scales
from lvmlab.widgets.live import Live, Trainer, choices
from lvmlab.widgets.recording import Film, Recording

ROOM = 1.5  # a scale that is too small is made larger by this factor more than needed


def live_lens(
    train: Trainer,
    steps: int,
    grid: Grid,
    start: Mapping[str, Any] | None = None,
    ahead: int = 0,
    **options: Sequence[Any],
) -> Live:
    """Make a joint lens that trains while one watches; `train` and `ahead` as for `Live`.

    A frame is a mapping of `model` and `target`, joints (X, Z) on `grid`, and perhaps `pairs`
    (N, 2), all as in a `Recording`. Each of `options` becomes a control: a menu of strings or a
    slider of numbers, such as `objective=["L_CE", "L_MIM"], seed=range(5)`; `start` sets some by
    name. Scales grow when a frame does not fit, and never shrink.
    """
    return Live(LensScene(grid, steps), train, steps, choices(options, start), ahead)


class LensScene:
    """The picture of a live lens, made anew on a larger scale when a frame does not fit into it."""

    def __init__(self, grid: Grid, steps: int) -> None:
        self.grid, self.steps = grid, steps
        self.lens: LensPicture | None = None
        self.film: Film | None = None
        self.frames: Sequence[Any] = []

    @property
    def picture(self) -> style.Picture:
        """The present picture."""
        assert self.lens is not None
        return self.lens.picture

    def show(self, name: str, steps: Sequence[int], frames: Sequence[Mapping[str, Any]]) -> str:
        """Show the last frame, and the divergence and information of all."""
        film, self.frames = self.film if frames is self.frames else None, frames
        known = 0 if film is None else len(film.steps)
        for done, frame in zip(steps[known:], frames[known:], strict=True):
            one = _film(name, done, frame, self.grid)
            film = one if film is None else film.joined(one)
            self._make_room(one)
        assert film is not None and self.lens is not None
        self.film = film
        return self.lens.show(name, film, len(steps) - 1)

    def _make_room(self, film: Film) -> None:
        needed = lens_scales(self.grid, [film])
        if self.lens is not None:
            if (needed <= self.lens.scales).all():
                return
            needed = np.where(needed > self.lens.scales, ROOM * needed, self.lens.scales)
        with style.style():
            self.lens = LensPicture(self.grid, [film], needed, (0, self.steps))


def _film(name: str, done: int, frame: Mapping[str, Any], grid: Grid) -> Film:
    if not isinstance(frame, Mapping) or not {"model", "target"} <= set(frame):
        raise ValueError(f"train: expected frames with model and target; got {frame!r:.80}")
    model, target = (np.asarray(frame[key])[None] for key in ("model", "target"))
    pairs = None if frame.get("pairs") is None else np.asarray(frame["pairs"])[None]
    return Film(name, Recording(model, target, np.array([done]), pairs), grid)
