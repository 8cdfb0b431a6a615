"""The aggregated posterior q(z) from its parts: what z says about x, and how far q(z) is from p(z).

q(z) is the mean of q(z | x_j) over the rows. With the own row in the mean, information is too low
on average and at most log N (`mi-estimator-ceiling`); without it, too high.
"""

import math
from typing import NamedTuple

import numpy as np

from lvmlab.diagnostics.encoded import (
    CELLS,
    Encoded,
    array,
    densities,
    diagonal,
    marginal_densities,
    prior_of,
)
from lvmlab.diagnostics.estimators import Estimate
from lvmlab.diagnostics.information import (
    _gaussian_log_density,
    gaussian_information,
    minibatch_information,
)
from lvmlab.diagnostics.likelihood import log_mean_exp
from lvmlab.diagnostics.neighbours import ksg, ksg_ceiling
from lvmlab.joint import Batch, Joint

MOST = 10_000  # rows of Gaussian posteriors, all pairs of which are compared
FEWER = 1000  # rows when each pair costs more
FEWEST = 400  # rows when each pair is a call of the encoder
KSG_WIDTH, KSG_ROWS = 8, 3000  # columns of x and z together, and rows, for KSG


class Aggregate(NamedTuple):
    """What each row gains, nats: q(z|x) over q(z), and q(z) over p(z), the own row in q(z)."""

    gains: np.ndarray  # (R,), log q(z_i|x_i) - log q(z_i)
    mismatch: np.ndarray  # (R,), log q(z_i) - log p(z_i)
    lowest: float  # a lower bound on KL(q(z) || p(z)), on average
    estimates: tuple[Estimate, ...]


def aggregate(p: Joint, q: Joint, batch: Batch, encoded: Encoded) -> Aggregate:
    """Compare all pairs of the first rows (at most `MOST`), and read I_q(x; z) by each ruler."""
    several = len(encoded.latents) > 1
    most = MOST if encoded.gaussian else FEWEST if several else FEWER
    rows = min(most, len(encoded.rate))
    batch = {v: value[:rows] for v, value in batch.items()}
    latents = {v: value[:rows] for v, value in encoded.latents.items()}
    log_prior = array(p.score(batch | latents).nats(list(latents)))
    if encoded.gaussian:
        (name,) = latents
        z = array(latents[name].flatten(1))
        mean, scale = (part[:rows] for part in encoded.moments[name])
        size = max(1, CELLS // rows)
        pieces = [
            _gains(_gaussian_log_density(z[i : i + size], mean, scale), i)
            for i in range(0, rows, size)
        ]
        own, inside, alone = (np.concatenate(column) for column in zip(*pieces, strict=True))
        small = [(m, gaussian_information(z, mean, scale, m)) for m in _sizes(rows)]
    else:
        matrix = densities(q, batch, latents)
        own, inside, alone = _gains(matrix, 0)
        small = [(m, minibatch_information(matrix, m)) for m in _sizes(rows)]
    gains = own - inside
    found = [Estimate(f"minibatch, M = {m}", *e, f"log {m}") for m, e in small]
    full = min(float(gains.mean()), math.log(rows))
    found.append(Estimate(f"full set, N = {rows}", full, math.log(rows), f"log {rows}"))
    found += _by_neighbours(batch, latents, p)
    lowest = max(0.0, float((alone - log_prior).mean()), _from_moments(p, batch, latents, encoded))
    return Aggregate(gains, inside - log_prior, lowest, tuple(found))


def _sizes(rows: int) -> list[int]:
    return [m for m in (50, 500) if m < rows]


def _gains(log_density: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log q(z_i|x_i), log q(z_i), and log q(z_i) without the own row, for a block of rows.

    The last is minus infinity where nothing of the others is left within rounding.
    """
    rows, size = np.arange(len(log_density)), log_density.shape[1]
    own = log_density[rows, first + rows]
    inside = np.atleast_1d(log_mean_exp(log_density, axis=1))
    others = -np.expm1(np.minimum(own - inside - math.log(size), 0.0))  # their share of the sum
    with np.errstate(divide="ignore"):
        share = np.log(np.where(others > 1e-9, others, 0.0)) - math.log(max(1, size - 1) / size)
    return own, inside, inside + share


def _by_neighbours(batch: Batch, latents: Batch, p: Joint) -> list[Estimate]:
    """KSG where x and z together have few columns and neither ties; else nothing."""
    data = [value for v, value in batch.items() if v in p.variables]
    x, z = (
        np.concatenate([array(v.reshape(len(v), -1)[:KSG_ROWS]) for v in values], 1)
        for values in (data, list(latents.values()))
    )
    if x.shape[1] + z.shape[1] > KSG_WIDTH or len(x) < 50:
        return []
    try:
        value = ksg(x, z)
    except ValueError:  # copies, or values on a grid: the method is for densities
        return []
    cap = ksg_ceiling(len(x))
    return [Estimate("KSG, k = 5", value, cap, f"psi({len(x)}) - psi(5)")]


def _from_moments(p: Joint, batch: Batch, latents: Batch, encoded: Encoded) -> float:
    """A lower bound on KL(q(z) || p(z)) for Gaussian priors, from means and variances alone.

    log p(z) is quadratic, so a Gaussian with the moments of q(z) is nearer to p than q(z) is, and
    one of independent dimensions nearer still. What chance adds to it, D / N, is taken off.
    """
    total = 0.0
    for name, (mean, scale) in encoded.moments.items():
        prior = diagonal(prior_of(p, latents, batch, name))
        if prior is None or prior[0].ndim != latents[name].ndim - 1:
            continue
        centre, spread = (array(part.flatten()) for part in prior)
        variance = (mean.var(0) + (scale**2).mean(0)) / spread**2
        shift = ((mean.mean(0) - centre) / spread) ** 2
        total += 0.5 * float((variance + shift - 1 - np.log(variance)).sum())
        total -= len(variance) / len(mean)
    return total


def nearest(codes: np.ndarray, shown: int, count: int = 5) -> np.ndarray:
    """Numbers (shown, count) of the codes nearest to each of the first rows, its own left out."""
    from scipy.spatial import cKDTree

    count = min(count, len(codes) - 1)
    found = cKDTree(codes).query(codes[:shown], k=count + 1)[1]
    rows = [[j for j in line if j != i][:count] for i, line in enumerate(np.atleast_2d(found))]
    return np.array(rows, dtype=int).reshape(len(rows), count)


def density_curves(
    p: Joint, batch: Batch, latents: Batch, encoded: Encoded, name: str, span: float = 3.5
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """A grid (G,), q(z_d) on it (D, G) from the posteriors, and p(z_d) (D, G) or None."""
    mean, scale = (part[:500] for part in encoded.moments[name])
    grid = np.linspace(-span, span, 141)
    q = np.exp(-0.5 * ((grid[:, None, None] - mean) / scale) ** 2) / (
        scale * math.sqrt(2 * math.pi)
    )
    prior = prior_of(p, latents, batch, name)
    there = latents[name].new_tensor(grid)[:, None].expand(-1, mean.shape[1])
    log_p = marginal_densities(prior, there) if prior.batch_shape in ((), there.shape[1:]) else None
    return grid, q.mean(1).T, None if log_p is None else np.exp(log_p).T
