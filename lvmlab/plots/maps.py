"""Maps of one cloud of codes, side by side: a projection, and arrangements that keep neighbours.

To be noticed: the same two rows are near on one map and far on the next; only neighbours mean much.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from lvmlab.plots import style
from lvmlab.plots.frames import halo, heading, names, place, three, ticks
from lvmlab.plots.latents import codes
from lvmlab.plots.measure import Array

MOST = 4
MEASURED = ("PCA", "the plane")  # maps whose axes have units


@style.styled
def latent_maps(
    maps: Mapping[str, ArrayLike],
    labels: ArrayLike | None = None,
    *,
    notes: Mapping[str, str] | None = None,
    rows: Mapping[str, int] | None = None,
) -> style.Picture:
    """Draw up to four maps of the same rows, as from `diagnostics.planar_map`, coloured by class.

    `maps`: places (N, 2) by name; only "PCA" and "the plane" get axes with numbers, because
    distances on the others have no unit. `labels` (N,) integers from 0 to 9. `notes`: a grey line
    below the name of a map. `rows`: numbers of rows by letter, ringed on every map. Raises
    `ValueError` for more maps, and for arrays that do not fit.
    """
    if not 1 <= len(maps) <= MOST:
        raise ValueError(f"maps: expected one to four, got {len(maps)}")
    places = {name: _places(name, at) for name, at in maps.items()}
    if len({len(at) for at in places.values()}) > 1:
        sizes = {name: len(at) for name, at in places.items()}
        raise ValueError(f"maps: expected the same rows on each, got {sizes}")
    side = min(8.7 / len(maps) - 0.25, 3.9)
    picture = style.figure(9.0, side + 1.2)
    for column, (name, at) in enumerate(places.items()):
        ax = place(picture, 0.45 + column * (side + 0.25), 0.5, side, side, kind="floor")
        _limits(ax, name, at)
        codes(ax, at, labels, size=2.5)
        _ring(ax, at, rows or {})
        heading(ax, name, (notes or {}).get(name, ""))
    picture.alt = f"The same {len(at)} codes on {len(maps)} maps: {', '.join(places)}."
    return picture


def _limits(ax: Axes, name: str, at: Array) -> None:
    middle = (at.min(0) + at.max(0)) / 2
    reach = 1.08 * max(float((at.max(0) - at.min(0)).max()) / 2, 1e-9)
    x, y = middle
    ax.set(xlim=(x - reach, x + reach), ylim=(y - reach, y + reach))
    if name in MEASURED:
        ticks(ax, x=three(*ax.get_xlim()), y=three(*ax.get_ylim()))
        names(ax, x="units of z")
    else:
        ticks(ax, x=(), y=())
        names(ax, x="no unit")


def _ring(ax: Axes, at: Array, rows: Mapping[str, int]) -> None:
    bold: dict[str, Any] = {"fontsize": 14, "fontweight": "bold", "ha": "center", "zorder": 9}
    low, high = ax.get_ylim()
    for letter, row in rows.items():
        if not 0 <= row < len(at):
            raise ValueError(f"rows, {letter}: expected a row from 0 to {len(at) - 1}, got {row}")
        x, y = at[row]
        ax.plot([x], [y], "o", mfc="white", ms=10, mew=2.2, mec=style.INK, zorder=8)
        halo(ax.text(x, y + 0.045 * (high - low), letter, **bold))


def _places(name: str, at: ArrayLike) -> Array:
    places = np.asarray(at, dtype=float)
    if places.ndim != 2 or places.shape[1] != 2 or not len(places) or not np.isfinite(places).all():
        raise ValueError(f"maps, {name}: expected finite places (N, 2), got {places.shape}")
    return places
