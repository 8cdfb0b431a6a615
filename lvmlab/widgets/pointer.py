"""A picture that can be touched: press, move and let go, in the data coordinates of its axes.

The browser's half is `pointer.js`. It sends the next move only when the last one has been answered,
so a slow kernel never falls behind the hand.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import anywidget
import numpy as np
import traitlets
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from lvmlab.plots import style


class Touch(NamedTuple):
    """What the pointer does: press ("down"), "move" while pressed, let go ("up")."""

    kind: str
    x: float
    """Part of the picture's width, from the left."""
    y: float
    """Part of the picture's height, from below."""
    target: int
    """Number of the mark that is held, in the order of `Pointer.mark`; -1 for none."""
    axes: Axes | None
    """The axes of the mark, else those that were pressed, for the whole drag; None outside all."""
    at: tuple[float, float] | None
    """Data coordinates in these axes; they may lie beyond the limits while a drag goes on."""


class Pointer(anywidget.AnyWidget):
    """A widget that shows the PNG of a picture and hears the pointer on it.

    Hand it to a `Panel` as `pointer`. `mark` says what can be dragged (the cursor becomes a hand
    there); with `anywhere=True` every place of the picture can be pressed. What a drag does must
    also be reachable by controls: a keyboard has no pointer.

        pointer = Pointer(picture)
        pointer.mark(ax, points)
        pointer.on_pointer(lambda touch: print(touch.kind, touch.target, touch.at))
    """

    _esm = (Path(__file__).parent / "pointer.js").read_text(encoding="utf-8")
    value = traitlets.Bytes().tag(sync=True)
    alt = traitlets.Unicode().tag(sync=True)
    targets: Any = traitlets.List().tag(sync=True)
    anywhere = traitlets.Bool(False).tag(sync=True)

    def __init__(self, picture: style.Picture, anywhere: bool = False) -> None:
        if not isinstance(picture, style.Picture):
            raise ValueError(
                f"picture: expected one from lvmlab.plots.figure(), got {type(picture).__name__}"
            )
        self.picture = picture
        self._pressed: Axes | None = None
        self._marked: Axes | None = None
        self._heard: list[Callable[[Touch], Any]] = []
        super().__init__(anywhere=anywhere)
        self.on_msg(self._receive)

    def on_pointer(self, callback: Callable[[Touch], Any]) -> None:
        """Call `callback(touch)` for each press, move and letting go."""
        self._heard.append(callback)

    def mark(self, ax: Axes, points: ArrayLike) -> None:
        """Say which points (N, 2), in data coordinates of `ax`, can be dragged; replaces others."""
        places = np.asarray(points, dtype=float)
        if places.ndim != 2 or places.shape[1] != 2 or not np.isfinite(places).all():
            raise ValueError(f"points: expected finite places of shape (N, 2), got {places.shape}")
        self._marked = ax
        inside = self.picture.transFigure.inverted()
        self.targets = inside.transform(ax.transData.transform(places)).round(5).tolist()

    def touch(self, kind: str, x: float, y: float, target: int = -1) -> Touch:
        """Do what the browser asks for: tell all listeners of a pointer at (x, y), then answer.

        `x` and `y` are parts of the picture from its lower left corner. Raises `ValueError` for
        another kind than down, move and up, a place that is not finite, and no such target.
        """
        if kind not in ("down", "move", "up"):
            raise ValueError(f"kind: expected down, move or up; got {kind!r}")
        if not np.isfinite([x, y]).all():
            raise ValueError(f"x and y: expected finite parts of the picture, got {x} and {y}")
        if not -1 <= target < len(self.targets):
            raise ValueError(f"target: expected -1 to {len(self.targets) - 1}, got {target}")
        pixel: Any = self.picture.transFigure.transform((x, y))
        if kind == "down":
            shown = [ax for ax in self.picture.axes if ax.axison and ax.get_visible()]
            under = [ax for ax in shown if ax.patch.contains_point(pixel)]
            below = max(under, key=lambda ax: ax.get_zorder(), default=None)
            self._pressed = below if target < 0 else self._marked  # a mark may lie on the frame
        at = None
        if self._pressed is not None:
            right, up = self._pressed.transData.inverted().transform(pixel)
            at = float(right), float(up)
        touch = Touch(kind, float(x), float(y), int(target), self._pressed, at)
        for callback in self._heard:
            callback(touch)
        return touch

    def _receive(self, _: Any, content: dict, __: Any) -> None:
        try:
            self.touch(content["kind"], content["x"], content["y"], content["target"])
        finally:
            self.send({"done": True})  # also after a failure: the next move may go on
