"""A linear model of one axis of the data in closed form, and the marks that show its optimum.

Principal axes of the data decouple: each has a decoder N(w z, s^2) and an encoder of its own, and
the best of both under distortion + beta rate is known.
"""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import ArrayLike

from lvmlab.plots import style
from lvmlab.plots.frames import live, three, ticks
from lvmlab.plots.joints import LEVELS
from lvmlab.plots.latents import ellipses
from lvmlab.plots.measure import Array


class Axis(NamedTuple):
    """The optimum of axes of a linear model: noise, information, distortion and rate."""

    rho: Array  # variance of the posterior, in units of the prior's
    information: (
        Array  # nats of x about z; equal to the rate, since the aggregated posterior is the prior
    )
    distortion: Array  # nats
    rate: Array  # nats


def linear_axis(variance: ArrayLike, scale: float, beta: float) -> Axis:
    """Solve distortion + beta rate for an axis of the data with a linear decoder and encoder.

    `variance` (any shape) is that of the data along the axis, `scale` the decoder's standard
    deviation s. With rho the part of the latent's variance that is noise, rho = min(1, beta s^2 /
    v), E z^2 = 1, information -log(rho) / 2: zero exactly from beta = v / s^2 on. Raises
    `ValueError` unless all three are positive and finite.
    """
    v = np.asarray(variance, dtype=float)
    for name, value in (("variance", v), ("scale", scale), ("beta", beta)):
        if not (np.isfinite(value).all() and np.all(np.asarray(value) > 0)):
            raise ValueError(f"{name}: expected positive finite numbers, got {value}")
    rho = np.minimum(1.0, beta * scale**2 / v)
    information = -0.5 * np.log(rho)
    distortion = 0.5 * np.log(2 * np.pi * scale**2) + v * rho / (2 * scale**2)
    return Axis(rho, information, distortion, information)


def check_spectrum(eigenvalues: ArrayLike) -> Array:
    """Return variances from the largest down, those of constant axes as 1e-12."""
    values = np.sort(np.asarray(eigenvalues, dtype=float).ravel())[::-1]
    if len(values) < 2 or not np.isfinite(values).all() or values[1] <= 0 or values[-1] < -1e-9:
        raise ValueError(
            f"eigenvalues: expected at least two positive variances, got {len(values)} numbers "
            f"from {values.min(initial=0):.3g} to {values.max(initial=0):.3g}; "
            "try np.linalg.eigvalsh(np.cov(x.T))"
        )
    return np.maximum(values, 1e-12)


class JointMarks:
    """Joints of one linear axis: q as blue heat, darkest at its own peak, p as orange contours."""

    def __init__(self, ax: Axes) -> None:
        self.ax, self.sd = ax, 0.0
        self.points = np.linspace(-3, 3, 145)
        blank = np.zeros((145, 145))
        self.image = ax.imshow(
            blank, cmap=style.lvm_q, vmin=0, vmax=1, origin="lower", aspect="auto",
            interpolation="bilinear", zorder=0,
        )  # fmt: skip
        self.contours = LineCollection([], colors=style.P, linewidths=1.4, zorder=2)
        ax.add_collection(self.contours, autolim=False)
        ax.set_ylim(-3, 3)
        ticks(ax, y=(-2, 0, 2))
        live(self.image, self.contours)

    def show(self, variance: float, rho: float, scale: float) -> None:
        """Show q(x) q(z|x) and p(z) p(x|z) at the optimum for data of this variance."""
        sd = float(np.sqrt(variance))
        if sd != self.sd:  # only another data set gets here, so frames do not jump under a slider
            self.sd = sd
            self.ax.set_xlim(-3 * sd, 3 * sd)
            self.image.set_extent((-3 * sd, 3 * sd, -3, 3))
            self.ax.set_ylim(-3, 3)
            ticks(self.ax, x=three(-2.9 * sd, 2.9 * sd))
        u, z = self.points, self.points[:, None]
        cell = self.points[1] - self.points[0]
        thin = max(rho, (0.7 * cell) ** 2)  # no thinner than can be painted
        self.image.set_data(np.exp(-0.5 * u**2 - 0.5 * (z - np.sqrt(1 - rho) * u) ** 2 / thin))
        around = np.linspace(0, 2 * np.pi, 90)
        radius = np.sqrt(-2 * np.log(LEVELS))[:, None]
        zs = radius * np.cos(around)
        xs = np.sqrt((1 - rho) * variance) * zs + scale * radius * np.sin(around)
        self.contours.set_segments(list(np.stack([xs, zs], -1)))


class FloorMarks:
    """Posteriors of forty data points in the plane of the first two latents."""

    def __init__(self, ax: Axes, count: int = 40) -> None:
        self.ax = ax
        n = np.arange(count)
        radius, angle = np.sqrt(-2 * np.log(1 - (n + 0.5) / count)), 2.39996323 * n
        self.data = np.stack(
            [radius * np.cos(angle), radius * np.sin(angle)], -1
        )  # standard normal
        self.marks = ellipses(ax, self.data, np.ones((count, 2)), fill=0.03)
        live(self.marks)

    def show(self, rho: Array) -> None:
        """Show the posteriors whose variances are `rho` (2,) along the two latents."""
        count = len(self.data)
        self.marks.set_offsets(self.data * np.sqrt(1 - rho))
        self.marks.set_widths(np.full(count, 2 * np.sqrt(rho[0])))
        self.marks.set_heights(np.full(count, 2 * np.sqrt(rho[1])))
