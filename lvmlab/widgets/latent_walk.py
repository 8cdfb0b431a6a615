"""The latent walk: a path on the floor between two data points, and what decodes along it.

To be noticed: straight in z the middle is one plausible thing; straight in x it is two at once.
With four corners the strip becomes a square.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as W
import numpy as np
from numpy.typing import ArrayLike, NDArray

from lvmlab.plots import style
from lvmlab.plots.latent_walk import WalkPicture
from lvmlab.widgets.panel import Panel
from lvmlab.widgets.player import begin
from lvmlab.widgets.pointer import Pointer, Touch

__all__ = ["latent_walk"]

Array = NDArray[Any]
CORNERS = "ABCD"
ALONG = 9  # tiles of a strip
ACROSS = 7  # tiles of a side of the square


def latent_walk(
    z: ArrayLike,
    decode: Callable[[Array], ArrayLike | Sequence[str]],
    *,
    labels: ArrayLike | None = None,
    data: ArrayLike | Sequence[str] | None = None,
    encode: Callable[[Array], ArrayLike] | None = None,
    log_prior: Callable[[Array], ArrayLike] | Mapping[str, Callable] | None = None,
    maps: Mapping[str, ArrayLike] | None = None,
    corners: int = 2,
    start: Mapping[str, Any] | None = None,
) -> Panel:
    """Make the walk between 2 or 4 rows of z (N, D), codes of known data such as posterior means.

    decode(z) takes (M, D) and returns M images (M, H, W) from 0 to 1, or M texts. `labels` (N,),
    integers from 0 to 9, colour the dots. `data`: images (N, H, W) of the same rows, for the strip
    that is straight in x, or texts, to name the corners; `encode(x)`, images to (M, D), draws that
    strip's path as dots. `log_prior(z)` (M,), nats: its curve along the path; or several by name,
    the joint's own first, as from `diagnostics.log_prior`. `maps`: more places (N, 2) of the rows
    by name, as from `diagnostics.planar_map`; the first map is the plane itself when D is 2, else
    the first two principal axes. On other maps a point of the path lies where its nearest row lies.

    Controls: `A` to `D` are rows, `t` (and `s`) where on the path (square) to look, `map`; in the
    picture corners can be dragged, and any place pressed to decode what is there: the place itself
    on the first map (off the principal axes the mean of z), the code of the row nearest to it on
    the others, which have no way back. `start` sets controls by name. Raises `ValueError` for
    arrays that do not fit, and for texts with four corners.
    """
    walk = Walk(_floor(z, labels, data, maps), decode, encode, log_prior, corners)
    begin(walk.controls, start)
    panel = Panel(walk.view.picture, walk.show, pointer=walk.pointer, **walk.controls)
    walk.panel = panel
    return panel


@dataclass(frozen=True, eq=False)
class Floor:
    """Checked codes with their places on every map, whether a map is linear in z, and the data."""

    z: Array
    labels: Array | None
    data: Any
    maps: dict[str, Array]
    axes: Array
    """(D, 2), what makes the first map of z less its middle; the identity in the plane."""
    middle: Array

    def on(self, map: str, z: Array) -> Array:
        """Places (M, 2) of z (M, D) on a map."""
        if map == next(iter(self.maps)):
            return (z - self.middle) @ self.axes
        return self.maps[map][_nearest(self.z, z)]

    def back(self, map: str, at: Array) -> tuple[Array, str]:
        """The code (D,) of a place (2,) on a map, and what it is called."""
        if map == next(iter(self.maps)):
            return self.middle + at @ self.axes.T, "here"
        row = int(_nearest(self.maps[map], at[None])[0])
        return self.z[row], f"code of row {row}"


class Walk:
    """What happens behind the panel: the path, what was pressed, and corners that are dragged."""

    panel: Panel | None = None

    def __init__(self, floor: Floor, decode: Any, encode: Any, log_prior: Any, corners: int):
        if corners not in (2, 4) or len(floor.z) < corners:
            raise ValueError(
                f"corners: expected 2, or 4, and as many rows of z, got {corners} and "
                f"{len(floor.z)} rows"
            )
        self.floor, self.decode, self.encode = floor, decode, encode
        self.priors = log_prior if isinstance(log_prior, Mapping) else {"": log_prior}
        self.priors = {name: nats for name, nats in self.priors.items() if nats is not None}
        self.names = CORNERS[:corners]
        self.pressed: tuple[Array, str] | None = None
        first = _decoded(decode, floor.z[:1])
        if isinstance(first, list) and corners == 4:
            raise ValueError("corners: texts walk between 2 corners, got 4")
        wordy = isinstance(floor.data, list)
        if floor.data is not None and wordy != isinstance(first, list):
            raise ValueError("data: expected what decode returns, images or texts, got the other")
        strips = floor.data is not None and not wordy and corners == 2
        with style.style():
            self.view = WalkPicture(
                floor.maps, floor.labels, first, strips, list(self.priors), self.names
            )
        self.straight_in_x = strips
        self.pointer = Pointer(self.view.picture, anywhere=True)
        self.pointer.on_pointer(self.touched)
        self.controls = self._controls()

    def _controls(self) -> dict[str, Any]:
        last = len(self.floor.z) - 1
        across = next(iter(self.floor.maps.values()))[:, 0]
        far = sorted(_far_apart(self.floor.z, len(self.names)), key=across.__getitem__)
        controls: dict[str, Any] = {
            name: W.IntSlider(row, min=0, max=last, description=f"{name}, row")
            for name, row in zip(self.names, far, strict=True)
        }
        for name in ("t",) if len(self.names) == 2 else ("s", "t"):
            controls[name] = W.FloatSlider(0.5, min=0, max=1, step=0.02, description=name)
            controls[name].observe(self._let_go, "value")
        controls["map"] = W.Dropdown(options=list(self.floor.maps), description="map")
        return controls

    def _let_go(self, _: Any) -> None:
        self.pressed = None  # the slider looks along the path again

    # ------------------------------------------------------------------ what the panel asks for
    def show(self, map: str, t: float, s: float = 0.0, **rows: int) -> str:
        """Draw the path between the rows, and what decodes on it; the sentence that tells it."""
        ends = self.floor.z[[rows[name] for name in self.names]]
        path = self._path(ends)
        here, where = self.pressed or (_between(ends, s, t), "on the path")
        decoded = _decoded(self.decode, np.concatenate([path, here[None]]))
        self.view.show_map(map, self.floor.on(map, path), self.floor.on(map, here[None])[0])
        self.pointer.mark(self.view.floor, self.floor.on(map, ends))
        self.view.show_decoded(decoded[:-1], decoded[-1])
        if self.straight_in_x:
            self._show_blend(map, rows)
        said = f"{', '.join(f'{name} row {rows[name]}' for name in self.names)}; "
        said += f"t = {t:.2f}" if self.pressed is None else "pressed"
        said += f", the {where}" if where.startswith("code") else ""
        said += self._show_density(path, here)
        nearest = int(_nearest(self.floor.z, here[None])[0])
        named = f"row {nearest}"
        if self.floor.labels is not None:
            named += f", class {self.floor.labels[nearest]}"
        if isinstance(self.floor.data, list):
            named += f": {self.floor.data[nearest]}"
        self.view.name(where, named)
        return f"{said}; nearest {named}."

    def _show_density(self, path: Array, here: Array) -> str:
        places = np.concatenate([path, here[None]])
        found = {name: _nats(nats, places) for name, nats in self.priors.items()}
        if not found:
            return ""
        along = np.stack(list(found.values()))
        self.view.show_density(along[:, :-1] if len(self.names) == 2 else None, along[:, -1])
        said = ""
        for name, nats in found.items():
            worst = min(nats[0], nats[len(path) - 1])
            of = f" of {name}" if name else ""
            said += f", log p(z){of} = {nats[-1]:.1f} nats, at the worse end {worst:.1f}"
        return said

    def _show_blend(self, map: str, rows: Mapping[str, int]) -> None:
        ends = self.floor.data[[rows[name] for name in self.names]]
        way = np.linspace(0, 1, ALONG)[:, None, None]
        blend = (1 - way) * ends[0] + way * ends[1]
        dots = None
        if self.encode is not None:
            dots = self.floor.on(map, np.asarray(self.encode(blend), dtype=float))
        self.view.show_blend(blend, dots)

    def _path(self, ends: Array) -> Array:
        if len(ends) == 2:
            return np.stack([_between(ends, 0, t) for t in np.linspace(0, 1, ALONG)])
        sides = np.linspace(0, 1, ACROSS)
        return np.stack([_between(ends, s, t) for s in sides for t in sides])

    # ------------------------------------------------------------------ what the pointer does
    def touched(self, touch: Touch) -> None:
        """Move a corner to the nearest row, or decode the place that is pressed."""
        if touch.axes is not self.view.floor or touch.at is None or self.panel is None:
            return
        map = self.controls["map"].value
        if touch.target >= 0:
            row = int(_nearest(self.floor.maps[map], np.asarray(touch.at)[None])[0])
            self.controls[self.names[touch.target]].value = row
            return
        if touch.kind == "up":
            return
        self.pressed = self.floor.back(map, np.asarray(touch.at))
        self.panel.update()


def _between(ends: Array, s: float, t: float) -> Array:
    low = (1 - t) * ends[0] + t * ends[1]
    return low if len(ends) == 2 else (1 - s) * low + s * ((1 - t) * ends[2] + t * ends[3])


def _nearest(rows: Array, places: Array) -> NDArray[np.int64]:
    apart = (rows**2).sum(1) - 2 * places @ rows.T
    return apart.argmin(1)


def _far_apart(z: Array, count: int) -> list[int]:
    """Rows to begin with: each the farthest from those before it, the first from the middle."""
    distance = ((z - z.mean(0)) ** 2).sum(1)
    chosen = [int(distance.argmax())]
    distance = ((z - z[chosen[0]]) ** 2).sum(1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((z - z[chosen[-1]]) ** 2).sum(1))
    return chosen


def _decoded(decode: Any, z: Array) -> Any:
    """A list of texts, or images (M, H, W) within 0 and 1."""
    found = decode(z)
    if not isinstance(found, np.ndarray) and len(found) and isinstance(found[0], str):
        if len(found) != len(z):
            raise ValueError(f"decode: expected {len(z)} texts, got {len(found)}")
        return list(found)
    images = np.asarray(found, dtype=float)
    if images.ndim != 3 or len(images) != len(z) or not np.isfinite(images).all():
        raise ValueError(
            f"decode: expected {len(z)} texts or finite images ({len(z)}, H, W), got {images.shape}"
        )
    return images.clip(0, 1)


def _nats(log_prior: Any, z: Array) -> Array:
    nats = np.asarray(log_prior(z), dtype=float)
    if nats.shape != (len(z),):
        raise ValueError(f"log_prior: expected ({len(z)},) nats, got shape {nats.shape}")
    return nats


def _floor(
    z: ArrayLike,
    labels: ArrayLike | None,
    data: Any,
    maps: Mapping[str, ArrayLike] | None,
) -> Floor:
    codes = np.asarray(z, dtype=float)
    if codes.ndim != 2 or codes.shape[1] < 2 or len(codes) < 2 or not np.isfinite(codes).all():
        raise ValueError(
            f"z: expected finite codes (N, D), two rows and columns or more, got {codes.shape}"
        )
    middle, axes = np.zeros(2), np.eye(2)
    if codes.shape[1] > 2:
        middle = codes.mean(0)
        axes = np.linalg.svd(codes - middle, full_matrices=False)[2][:2].T
        axes = axes * np.sign(axes[abs(axes).argmax(0), range(2)])  # the signs of scikit-learn
    first = "the plane" if codes.shape[1] == 2 else "PCA"
    places = {first: (codes - middle) @ axes}
    for name, given in (maps or {}).items():
        there = np.asarray(given, dtype=float)
        if there.shape != (len(codes), 2) or not np.isfinite(there).all():
            raise ValueError(f"maps, {name}: expected ({len(codes)}, 2), got {there.shape}")
        places[name] = there
    kinds = None if labels is None else np.asarray(labels)
    if kinds is not None and kinds.shape != (len(codes),):
        raise ValueError(f"labels: expected {len(codes)} integers, got shape {kinds.shape}")
    if data is not None:
        wordy = len(data) > 0 and isinstance(data[0], str)
        data = list(data) if wordy else np.asarray(data, dtype=float)
        if len(data) != len(codes) or (not wordy and data.ndim != 3):
            came = f"{len(data)} texts" if wordy else f"shape {data.shape}"
            raise ValueError(
                f"data: expected {len(codes)} texts or images ({len(codes)}, H, W), got {came}"
            )
    return Floor(codes, kinds, data, places, axes, middle)
