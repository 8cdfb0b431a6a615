"""Information and entropy of continuous samples, by distances to nearest neighbours."""

import math
from typing import Any

import numpy as np

from lvmlab.diagnostics import arrays

TIES = 0.05  # share of rows that may tie: rounding so many Gaussian rows moved ksg by < 0.01


def ksg(x: Any, z: Any, k: int = 5) -> float:
    """Mutual information I(x; z) of continuous samples, in nats, by k nearest neighbours.

    x (N, A) and z (N, B), or (N,), paired by row. Distances are maxima over all columns, so give
    columns comparable units; a common factor for all of them changes nothing. The estimate may be
    a little below 0, and it is never above `ksg_ceiling(N, k)`: near it, read "at least".
    Time grows with the number of columns: k-d trees are quick up to about ten.

    The method is for densities. Rows that are copies of another row, or that tie at their k-th
    neighbour (values on a grid), mislead it by as much as the information itself, so more than 5 %
    of them raise `ValueError`; `np.unique` cures copies, independent noise far below the step of
    the grid the rest. A constant column changes nothing, and the information with a variable whose
    columns are all constant is exactly 0. Also raises for NaN and infinity, different lengths, and
    k outside 1 ... N - 2.

    Source: Kraskov, Stögbauer and Grassberger (2004), estimator 1.
    """
    from scipy.special import digamma

    x, z = arrays.samples("x", x), arrays.samples("z", z)
    arrays.same_length(x=x, z=z)
    k = arrays.whole_number("k", k, 1, len(x) - 2, f"for {len(x)} rows")
    radius = _radius(np.hstack([x, z]), k)
    spent = digamma(_closer_than(radius, x)) + digamma(_closer_than(radius, z))
    return float(digamma(len(x)) + digamma(k) - spent.mean())


def ksg_ceiling(samples: int, k: int = 5) -> float:
    """The largest value that `ksg` can give for this many samples, psi(N) - psi(k), in nats.

    Each row has at least k - 1 others closer in x and in z than its k-th neighbour in both, which
    puts the counts in the estimator where they are smallest. Raises `ValueError` for k outside
    1 ... N - 2.
    """
    from scipy.special import digamma

    samples = arrays.whole_number("samples", samples, 3)
    k = arrays.whole_number("k", k, 1, samples - 2, f"for {samples} samples")
    return float(digamma(samples) - digamma(k))


def knn_entropy(x: Any, k: int = 5) -> float:
    """Differential entropy H(x) of continuous samples (N, D) or (N,), in nats.

    From the Euclidean distance to the k-th nearest neighbour. Units matter: 2 x has D log 2 more.
    Raises `ValueError` for NaN and infinity, k outside 1 ... N - 1, and rows with k copies or more,
    whose density would be infinite.

    Source: Kozachenko and Leonenko (1987); k neighbours as in Kraskov et al. (2004), equation 20.
    """
    from scipy.spatial import cKDTree
    from scipy.special import digamma

    x = arrays.samples("x", x)
    samples, dimensions = x.shape
    k = arrays.whole_number("k", k, 1, samples - 1, f"for {samples} rows")
    radius = cKDTree(x).query(x, k=[k + 1])[0][:, 0]  # the first neighbour is the row itself
    if copies := int((radius == 0).sum()):
        raise ValueError(
            f"x must be samples of a density, but {copies} of {samples} rows have {k} exact copies "
            f"or more. Take distinct rows, a larger k, or `entropy` of a table for discrete values."
        )
    half = dimensions / 2
    log_ball = half * math.log(math.pi) - math.lgamma(half + 1)  # volume of the unit ball
    return float(digamma(samples) - digamma(k) + log_ball + dimensions * np.log(radius).mean())


def _radius(joint: np.ndarray, k: int) -> np.ndarray:
    """Distance of each row to its k-th nearest neighbour in the maximum norm, (N,)."""
    from scipy.spatial import cKDTree

    # The first other row too: rows that all come twice do not tie at their k-th when k is odd.
    first, near, next_ = cKDTree(joint).query(joint, k=[2, k + 1, k + 2], p=np.inf)[0].T
    tied = ((first == 0) | (near == next_)).mean()
    if tied > TIES:
        raise ValueError(
            f"x and z must be samples of a density, but {tied:.0%} of the rows tie at their k-th "
            "neighbour (copies, or values on a grid). For labels use `plug_in_information` or "
            "`categorical_information`; take each copied row once. For rounded values add a little "
            "noise to both, such as `x + 1e-6 * rng.standard_normal(x.shape)` with a seed that the "
            "data did not use."
        )
    return near


def _closer_than(radius: np.ndarray, points: np.ndarray) -> np.ndarray:
    """How many rows are strictly closer than the radius, the row itself included, (N,)."""
    from scipy.spatial import cKDTree

    inside = np.nextafter(radius, 0)  # the tree counts "up to", the estimator "below"
    tree = cKDTree(points, leafsize=32)
    return tree.query_ball_point(points, inside, p=np.inf, return_length=True, workers=1)
