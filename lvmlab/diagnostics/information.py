"""Information that an encoder puts into z, from the posteriors themselves."""

import math
from typing import Any, NamedTuple

import numpy as np

from lvmlab.diagnostics import arrays, tables
from lvmlab.diagnostics.likelihood import log_mean_exp

ROWS = 512  # rows of the N x N matrix of log-densities that are in memory at once


class CategoricalInformation(NamedTuple):
    """What posteriors over K categories say, in nats.

    `information` + `aggregated_kl` is the mean KL(q(z|x) || prior), the rate. `information` never
    exceeds `entropy`, that of the aggregated posterior, which never exceeds `ceiling` = log K.
    """

    information: float
    aggregated_kl: float
    entropy: float
    ceiling: float


class MinibatchInformation(NamedTuple):
    """An estimate of information and the largest value it could have taken, in nats."""

    information: float
    ceiling: float


def categorical_information(
    posteriors: Any, prior: Any = None, weights: Any = None
) -> CategoricalInformation:
    """Information I_q(x; z) and aggregated KL of posteriors over K categories, exactly, in nats.

    posteriors (N, K): row n is q(z | x_n). prior (K,): uniform when left out. weights (N,): how
    much each row counts, of any positive sum; equal when left out. Information is the entropy of
    the mean posterior minus the mean entropy of the posteriors; aggregated KL is KL(mean posterior
    || prior), infinite where the prior excludes a category in use. With a uniform prior the two
    together are at most log K. Raises `ValueError` for rows or a prior that do not sum to 1,
    negative entries, NaN, and lengths that differ.

    Source: CoLLike (complete likelihood objective), equation 9 and table 2.
    """
    from scipy.special import rel_entr

    posteriors = arrays.probabilities("posteriors", posteriors, by_row=True)
    rows, categories = posteriors.shape
    shares = np.full(rows, 1 / rows) if weights is None else _shares(weights, posteriors)
    uniform = np.full(categories, 1 / categories)
    prior = uniform if prior is None else arrays.probabilities("prior", prior)
    if prior.shape != (categories,):
        raise ValueError(
            f"prior must have one entry for each of the {categories} categories in posteriors, "
            f"but has shape {prior.shape}. Check the order of the axes."
        )
    aggregate = shares @ posteriors
    # a mean of divergences, not a difference of entropies: exactly 0 when all rows are equal
    information = float(shares @ rel_entr(posteriors, aggregate).sum(1))
    return CategoricalInformation(
        information=information,
        aggregated_kl=tables.kl_divergence(aggregate, prior),
        entropy=tables.entropy(aggregate),
        ceiling=math.log(categories),
    )


def minibatch_information(
    log_density: Any, batch_size: int | None = None, leave_own_out: bool = False
) -> MinibatchInformation:
    """Monte Carlo estimate of I_q(x; z) from log q(z_i | x_j), with its ceiling, in nats.

    log_density (N, N): entry (i, j) is log q(z_i | x_j), where z_i was drawn from q(z | x_i). The
    aggregated posterior q(z_i) is the mean of q(z_i | x_j) over j: over all N when batch_size is
    left out, else over the batch of consecutive rows to which i belongs (a last, incomplete batch
    is left out). This mean includes j = i, so the estimate is too low on average and cannot exceed
    `ceiling` = log batch_size: near it, read "at least". `leave_own_out` takes j = i out of the
    mean: the estimate is then too high on average, and has no ceiling. Raises `ValueError` for a
    matrix that is not square, NaN, +infinity, -infinity on the diagonal, and an impossible batch
    size.

    Source: MI estimates of Inference critics; without the own row, Poole et al. (2019).
    """
    log_density = arrays.non_empty("log_density", arrays.numeric("log_density", log_density))
    rows, columns = arrays.shaped("log_density", log_density, ("N", "N")).shape
    if rows != columns:
        raise ValueError(
            f"log_density must be square, every sample under every posterior, but has shape "
            f"{log_density.shape}. Evaluate log q(z_i | x_j) for all pairs."
        )
    if np.isnan(log_density).any() or (log_density == np.inf).any():
        raise ValueError(
            "log_density must hold no NaN and no +infinity, but does. Give the posteriors a floor "
            "under their scale."
        )
    if not np.isfinite(log_density.diagonal()).all():
        raise ValueError(
            "log_density must be finite on its diagonal, but some z_i is impossible under its own "
            "posterior. Check that row i holds the sample of posterior i."
        )
    size = _batch_size(batch_size, rows, leave_own_out)
    gains = [
        _gains(log_density[first : first + size, first : first + size], 0, leave_own_out)
        for first in range(0, rows - size + 1, size)
    ]
    return _estimate(gains, size, leave_own_out)


def gaussian_information(
    z: Any,
    mean: Any,
    scale: Any,
    batch_size: int | None = None,
    leave_own_out: bool = False,
) -> MinibatchInformation:
    """`minibatch_information` of diagonal Gaussian posteriors, without holding the N x N matrix.

    z, mean, scale (N, D): z_n is one sample of q(z | x_n) = N(mean_n, scale_n squared). Nats; see
    `minibatch_information` for the estimate, its ceiling, and the other arguments. Raises
    `ValueError` for shapes that differ, NaN, a scale that is not positive, and an impossible batch
    size.
    """
    z, mean, scale = (
        arrays.samples(name, value) for name, value in (("z", z), ("mean", mean), ("scale", scale))
    )
    if not z.shape == mean.shape == scale.shape:
        raise ValueError(
            f"z, mean and scale must have one shape (N, D), but have {z.shape}, {mean.shape} and "
            f"{scale.shape}. Draw one z for each row, and broadcast a common scale."
        )
    if scale.min() <= 0:
        raise ValueError(
            f"scale must be positive, but its smallest entry is {scale.min():.4g}. Pass standard "
            "deviations, not their logarithms."
        )
    size = _batch_size(batch_size, len(z), leave_own_out)
    centre = mean.mean(0)  # small numbers, because the squares below are subtracted
    z, mean = z - centre, mean - centre
    gains = []
    for first in range(0, len(z) - size + 1, size):
        batch = slice(first, first + size)
        for row in range(first, first + size, ROWS):
            some = z[row : min(row + ROWS, first + size)]
            log_density = _gaussian_log_density(some, mean[batch], scale[batch])
            gains.append(_gains(log_density, row - first, leave_own_out))
    return _estimate(gains, size, leave_own_out)


def _shares(weights: Any, posteriors: np.ndarray) -> np.ndarray:
    weights = arrays.shaped("weights", arrays.finite("weights", weights), ("N",))
    arrays.same_length(posteriors=posteriors, weights=weights)
    if weights.min() < 0 or weights.sum() == 0:
        raise ValueError(
            "weights must be non-negative with a positive sum, but have minimum "
            f"{weights.min():.4g} and sum {weights.sum():.4g}. Pass counts or probabilities."
        )
    return weights / weights.sum()


def _batch_size(batch_size: int | None, rows: int, leave_own_out: bool) -> int:
    lowest = 2 if leave_own_out else 1  # leaving out the only row leaves nothing
    size = rows if batch_size is None else batch_size
    return arrays.whole_number("batch_size", size, lowest, rows, f"for {rows} rows")


def _estimate(gains: list[np.ndarray], size: int, leave_own_out: bool) -> MinibatchInformation:
    ceiling = math.inf if leave_own_out else math.log(size)
    mean = float(np.concatenate(gains).mean())
    return MinibatchInformation(min(mean, ceiling), ceiling)  # rounding may pass it by 1e-15


def _gains(log_density: np.ndarray, first: int, leave_own_out: bool) -> np.ndarray:
    """Gains log q(z_i | x_i) - log q(z_i), for rows whose own columns start at `first`, (rows,)."""
    rows = np.arange(len(log_density))
    own, size = log_density[rows, first + rows], log_density.shape[1]
    if not leave_own_out:
        return own - log_mean_exp(log_density, axis=1)
    others = log_density.astype(np.float64)
    others[rows, first + rows] = -np.inf
    return own - (log_mean_exp(others, axis=1) + math.log(size / (size - 1)))


def _gaussian_log_density(z: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """All pairs log N(z_i; mean_j, scale_j squared), by two matrix products, (rows, M)."""
    precision = scale**-2
    constant = (precision * mean**2 + 2 * np.log(scale) + math.log(2 * math.pi)).sum(1)
    return -0.5 * (z**2 @ precision.T - 2 * z @ (precision * mean).T + constant)
