"""The marks of a dial of trained models: two spaces, a meter, and the limits that hold them still.

To be noticed: whether orange reaches all of the blue, and how large the ellipses are in the rings.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.colors import to_rgba
from numpy.typing import ArrayLike, NDArray

from lvmlab.plots import style
from lvmlab.plots.curves import meter
from lvmlab.plots.frames import number, place
from lvmlab.plots.latents import MANY, latent_axes, prior_rings
from lvmlab.plots.planes import Density, check_density, data_plane, smoothed
from lvmlab.widgets.dial_films import DialFilm, dial_films

FILL = 0.22  # opacity of an ellipse


class DialTable:
    """All that a dial shows, checked, with limits that hold for every frame."""

    def __init__(
        self,
        recordings: Mapping[str, Any],
        x: ArrayLike,
        labels: ArrayLike,
        density: Density | tuple | ArrayLike | None,
        ceiling: tuple[float, str] | None,
    ) -> None:
        rows, kinds = np.asarray(x, dtype=float), np.asarray(labels)
        self.density = smoothed(rows) if density is None else check_density(density)
        if kinds.shape != (len(rows),) or kinds.min() < 0 or kinds.max() >= len(style.CLASSES):
            raise ValueError(
                f"labels: expected {len(rows)} integers from 0 to 9, one for each row of x; "
                f"got shape {kinds.shape}"
            )
        self.films, self.objectives, self.widths = dial_films(recordings, len(rows))
        few = kinds.max() < len(style.FEW_CLASSES)
        palette = style.FEW_CLASSES if few else style.CLASSES
        self.chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MANY)).astype(int))
        self.inks = [palette[int(k)] for k in kinds[self.chosen]]
        # far means are rare: a span that shows all but one in a hundred keeps the prior readable
        far = max(float(np.quantile(np.abs(f.means), 0.99)) for f in self.films.values())
        self.span = float(np.clip(np.ceil(2 * far) / 2, 3.0, 6.0))
        most = max(float(f.information.max()) for f in self.films.values())
        if ceiling is not None and not ceiling[0] > 0:
            raise ValueError(f"ceiling: expected a positive number and a name, got {ceiling}")
        self.ceiling = ceiling
        self.end = ceiling[0] if ceiling else max(most, 0.1)

    @property
    def meter_name(self) -> str:
        """What stands under the end of the meter."""
        return f"ceiling {self.ceiling[1]} = {number(self.end, 1)}" if self.ceiling else ""


class PosteriorMarks:
    """Posteriors as ellipses at one scale in the colours of their classes."""

    def __init__(self, ax: Axes, inks: Sequence[str]) -> None:
        one = np.ones(len(inks))
        self.marks = EllipseCollection(
            one, one, 0 * one, units="xy", offsets=np.zeros((len(inks), 2)),
            transOffset=ax.transData, facecolors=[to_rgba(ink, FILL) for ink in inks],
            edgecolors=list(inks), linewidths=0.8, zorder=3,
        )  # fmt: skip
        ax.add_collection(self.marks, autolim=False)

    def show(self, means: NDArray[Any], scales: NDArray[Any]) -> None:
        """Move the ellipses to means (N, 2) and scales (N, 2)."""
        self.marks.set_offsets(means)
        self.marks.set_widths(2 * scales[:, 0])
        self.marks.set_heights(2 * scales[:, 1])


class SpaceMarks:
    """One model in data space and latent space: density, reconstructions, posteriors, rings."""

    def __init__(
        self,
        picture: style.Picture,
        table: DialTable,
        data_at: tuple[float, float],
        latent_at: tuple[float, float],
        side: float,
        ring_name: str = "prior, 1 and 2 sd",
    ) -> None:
        self.chosen = table.chosen
        self.data = data_plane(picture, *data_at, side, table.density)
        (self.dots,) = self.data.plot([], [], "o", ms=3.3, mew=0, color=style.P, zorder=3)
        self.floor = latent_axes(picture, *latent_at, side, table.span)
        self.posteriors = PosteriorMarks(self.floor, table.inks)
        self.rings = prior_rings(self.floor, label=ring_name)

    def show(self, film: DialFilm, seed: int, frame: int) -> None:
        """Show one frame of one seed."""
        self.dots.set_data(*film.reconstructions[seed, frame].T)
        chosen = self.chosen
        self.posteriors.show(film.means[seed, frame, chosen], film.scales[seed, frame, chosen])


class MeterMarks:
    """An objective's name, its information as one large number, and the meter with all seeds."""

    def __init__(
        self, picture: style.Picture, left: float, bottom: float, height: float, table: DialTable
    ) -> None:
        ax = place(picture, left, bottom, 2.0, height, kind="blank")
        self.name = ax.text(0, 0.9, "", fontsize=16, fontweight="bold", va="center")
        self.big = ax.text(-0.02, 0.68, "", fontsize=44, fontweight="bold", va="center")
        ax.text(0, 0.48, "nats about x in z", fontsize=11, color=style.NOTE, va="center")
        inside = place(picture, left, bottom + 0.16 * height, 2.0, 0.24 * height, kind="blank")
        inside.set(xlim=(0, 1.06 * table.end), ylim=(-1.2, 0.5))
        self.bar = meter(inside, 0, table.end, style.INK, table.meter_name)
        if table.ceiling is None:
            words = f"track to the largest run, {number(table.end, 1)}"
            inside.text(0, -0.55, words, va="top", fontsize=10, color=style.NOTE)
        self.seeds = LineCollection([], colors=style.INK, linewidths=1.6, zorder=3)
        inside.add_collection(self.seeds, autolim=False)
        small: dict[str, Any] = {"fontsize": 10, "color": style.NOTE, "va": "center"}
        self.runs = ax.text(0, 0.13, "", **small)
        self.active = ax.text(0, 0.02, "", fontsize=11, fontweight="bold", va="center")

    def show(self, name: str, film: DialFilm, seed: int, frame: int) -> None:
        """Show the numbers of one seed, and all seeds as ticks."""
        now, colour = film.information[:, frame], style.look(name).colour
        self.name.set(text=name, color=colour)
        self.big.set_text(number(float(now[seed]), 1))
        self.bar.set_width(float(np.clip(now[seed], 0, None)))
        self.bar.set_color(colour)
        self.seeds.set_segments([[(v, -0.35), (v, 0.35)] for v in now])
        mean = number(float(now.mean()), 1)
        self.runs.set_text(f"ticks: {film.seeds} seeds, mean {mean}" if film.seeds > 1 else "")
        self.active.set_text(f"active {number(float(film.active[seed, frame]))} of 2")
