"""Sums over a grid of (x, z): marginals, information and divergences of joints given as arrays.

Quadrature in plain numpy. A continuous axis weighs each point by its spacing (the arrays hold
densities); a discrete axis weighs each value by one (the arrays hold probabilities). All results
are in nats.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class Grid:
    """The places (x_i, z_j) on which joints are tabulated, with the measure of each place.

    `x` (X,) and `z` (Z,) are evenly spaced points of a continuous axis, or, with `discrete_x` or
    `discrete_z`, the names of a finite set (numbers or strings). A joint on it is an array (X, Z):
    the density with respect to dx on a continuous axis, probability on a discrete one. Raises
    `ValueError` for axes that are too short, not finite or not evenly spaced.
    """

    def __init__(
        self,
        x: Sequence | ArrayLike,
        z: Sequence | ArrayLike,
        discrete_x: bool = False,
        discrete_z: bool = False,
    ) -> None:
        self.discrete_x, self.discrete_z = discrete_x, discrete_z
        self.x, self.dx, self.x_names = _axis("x", x, discrete_x)
        self.z, self.dz, self.z_names = _axis("z", z, discrete_z)
        self.shape = (len(self.x), len(self.z))
        self.weight = self.dx * self.dz

    @classmethod
    def table(cls, shape: tuple[int, int]) -> "Grid":
        """Make the grid of a finite table of `shape` (X, Z)."""
        return cls(range(shape[0]), range(shape[1]), discrete_x=True, discrete_z=True)

    @property
    def x_limits(self) -> tuple[float, float]:
        """Where the x axis starts and ends: half a cell beyond the first and the last point."""
        return self.x[0] - self.dx / 2, self.x[-1] + self.dx / 2

    @property
    def z_limits(self) -> tuple[float, float]:
        """Where the z axis starts and ends: half a cell beyond the first and the last point."""
        return self.z[0] - self.dz / 2, self.z[-1] + self.dz / 2

    def check(self, joint: ArrayLike, name: str = "joint", tolerance: float | None = None) -> Array:
        """Return `joint` as an array (..., X, Z) of distributions on this grid, else `ValueError`.

        `tolerance` is on the total mass: 1e-6 for tables, 0.01 where a density may be cut by the
        grid's edge.
        """
        array = np.asarray(joint)
        if not np.issubdtype(array.dtype, np.floating):
            array = array.astype(float)
        if array.shape[-2:] != self.shape:
            raise ValueError(
                f"{name}: expected shape (..., {self.shape[0]}, {self.shape[1]}), x first, then z, "
                f"as the grid has; got {array.shape}"
                + ("; try its transpose" if array.shape[-2:] == self.shape[::-1] else "")
            )
        if not np.isfinite(array).all():
            raise ValueError(
                f"{name}: expected finite numbers, got {(~np.isfinite(array)).sum()} that are not"
            )
        if (array < 0).any():
            raise ValueError(
                f"{name}: expected densities or probabilities, got a smallest value of "
                f"{array.min():.3g}; are these logarithms? Try np.exp"
            )
        total = array.sum((-2, -1), dtype=float) * self.weight
        finite = self.discrete_x and self.discrete_z
        tolerance = (1e-6 if finite else 0.01) if tolerance is None else tolerance
        if (abs(total - 1) > tolerance).any():
            worst = float(np.ravel(total)[np.argmax(abs(np.ravel(total) - 1))])
            raise ValueError(
                f"{name}: expected a total mass of 1 within {tolerance:g}, got {worst:.6g}; "
                "divide by the total, or widen the grid if a density is cut off at its edge"
            )
        return array

    def marginals(self, joint: ArrayLike) -> tuple[Array, Array]:
        """Return the marginals of a joint (..., X, Z): over x (..., X) and over z (..., Z)."""
        table = np.asarray(joint)
        return table.sum(-1, dtype=float) * self.dz, table.sum(-2, dtype=float) * self.dx

    def kl(self, q: ArrayLike, p: ArrayLike) -> Array:
        """Return KL(q || p) in nats for joints (..., X, Z), inf where q allows what p excludes."""
        return self._relative(q, p).sum((-2, -1)) * self.weight

    def information(self, joint: ArrayLike) -> Array:
        """Return the mutual information of x and z in nats: KL(joint || product of marginals)."""
        over_x, over_z = self.marginals(joint)
        return self.kl(joint, over_x[..., :, None] * over_z[..., None, :])

    def split(self, q: ArrayLike, p: ArrayLike) -> tuple[Array, Array]:
        """Split KL(q || p) by x: KL(q(x) || p(x)), and the cost of the conditionals at each x.

        The cost is q(x) KL(q(z|x) || p(z|x)), of shape (..., X), in nats for a unit of x.

        The second part is the gap of a bound when q carries an encoder; summed over x (times dx) it
        is that gap.
        """
        (q_x, _), (p_x, _) = self.marginals(q), self.marginals(p)
        at_x = _relative(q_x, p_x)
        together = self._relative(q, p).sum(-1) * self.dz
        with np.errstate(invalid="ignore"):
            inside = np.where(np.isfinite(at_x), together - at_x, 0.0)
        return at_x.sum(-1) * self.dx, inside

    def _relative(self, q: ArrayLike, p: ArrayLike) -> Array:
        """Return q log(q / p), letting a density underflow to 0 under less than 1e-9 of q."""
        if not (self.discrete_x and self.discrete_z):
            q, p = np.broadcast_arrays(np.asarray(q, dtype=float), np.asarray(p, dtype=float))
            lost = np.where(p > 0, 0.0, q)
            small = lost.sum((-2, -1), keepdims=True) * self.weight < 1e-9
            q = np.where(small & (lost > 0), 0.0, q)
        return _relative(q, p)


def _axis(
    name: str, values: Sequence | ArrayLike, discrete: bool
) -> tuple[Array, float, list[str]]:
    """Return positions, spacing and names of one axis."""
    if discrete:
        names = [str(v) for v in np.asarray(values).ravel().tolist()]
        if not names:
            raise ValueError(f"{name}: expected at least one value, got none")
        return np.arange(len(names), dtype=float), 1.0, names
    points = np.asarray(values, dtype=float)
    if points.ndim != 1 or len(points) < 3 or not np.isfinite(points).all():
        raise ValueError(
            f"{name}: expected at least three finite points in a row, got shape {points.shape}"
        )
    steps = np.diff(points)
    if steps.min() <= 0 or np.ptp(steps) > 1e-6 * abs(points).max() + 1e-9:
        raise ValueError(
            f"{name}: expected increasing, evenly spaced points, got steps from "
            f"{steps.min():.3g} to {steps.max():.3g}; "
            f"try np.linspace, or discrete_{name}=True for a finite set"
        )
    return points, float((points[-1] - points[0]) / (len(points) - 1)), []


def _relative(q: ArrayLike, p: ArrayLike) -> Array:
    """Return q log(q / p) place by place, 0 where q is 0 and infinity where only p is 0."""
    q, p = np.broadcast_arrays(np.asarray(q, dtype=float), np.asarray(p, dtype=float))
    out = np.zeros(q.shape)
    both = (q > 0) & (p > 0)
    np.log(q, out=out, where=both)
    np.subtract(out, np.log(p, out=np.zeros(p.shape), where=both), out=out, where=both)
    np.multiply(out, q, out=out, where=both)
    out[(q > 0) & (p <= 0)] = np.inf
    return out


def contributions(q: ArrayLike, p: ArrayLike) -> Array:
    """Return what each cell adds to KL(q || p), in nats; some are negative, their sum is not.

    Shapes broadcast. A cell that q allows and p excludes holds infinity, an empty cell of q holds
    0.
    """
    return _relative(np.asarray(q, dtype=float), np.asarray(p, dtype=float))


def entropy(probabilities: ArrayLike) -> float:
    """Return the entropy in nats of a table of probabilities of any shape, with 0 log 0 = 0."""
    values = np.asarray(probabilities, dtype=float)
    return float(-_relative(values, np.ones_like(values)).sum())
