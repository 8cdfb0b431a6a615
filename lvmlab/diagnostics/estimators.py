"""Estimates of one information by several rulers, each beside the largest value it can give.

To be noticed: an estimate close to its ceiling says "at least", whatever its decimals.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lvmlab.diagnostics import arrays
from lvmlab.diagnostics.information import gaussian_information
from lvmlab.diagnostics.neighbours import ksg, ksg_ceiling

NEAR = 0.95  # from this part of its ceiling on an estimate is called "at least"


class Estimate(NamedTuple):
    """One reading of I(x; z) and the largest value that its method could have given, in nats."""

    estimator: str
    information: float
    ceiling: float  # infinite where there is none
    ceiling_name: str

    @property
    def at_ceiling(self) -> bool:
        """Whether the reading is within 5 % of its ceiling, so that it only says "at least"."""
        return self.information >= NEAR * self.ceiling


class Estimates(tuple[Estimate, ...]):
    """Readings of one information by several estimators; printing it shows them as a table."""

    def __new__(cls, rows: Sequence[Estimate]) -> "Estimates":
        """Collect the rows in the order in which they are to be shown."""
        return super().__new__(cls, rows)

    def __getnewargs__(self) -> tuple:
        return (tuple(self),)

    def __repr__(self) -> str:
        widest = max([9, *(len(row.estimator) for row in self)])
        lines = [f"{'estimator':{widest}}   nats   ceiling"]
        for row in self:
            cap = f"{row.ceiling:6.2f} = {row.ceiling_name}" if row.ceiling < math.inf else "  none"
            said = ", at least" if row.at_ceiling else ""
            lines.append(f"{row.estimator:{widest}} {row.information:6.2f}    {cap}{said}")
        return "\n".join(line.rstrip() for line in lines)


def information_estimates(
    x: Any,
    z: Any,
    mean: Any = None,
    scale: Any = None,
    batch_sizes: Sequence[int] = (32, 512),
    k: int = 5,
    exact: float | None = None,
) -> Estimates:
    """Read I(x; z) in nats by KSG, in minibatches and in the full set, each with its ceiling.

    x (N, A) and z (N, B) are paired samples. mean and scale (N, B) are the diagonal Gaussian
    posteriors that z was drawn from; without them there is only KSG. Each M of `batch_sizes` that
    is below N gives one row, the mean over the whole batches of M; it equals InfoNCE with the true
    posterior as critic, and its ceiling is log M. The full set is the same with M = N. `exact` is
    the closed form where it is known, and has no ceiling.

    x enters KSG alone, by distances: standardise its columns when their units differ. Raises
    `ValueError` as `ksg` and `gaussian_information` do (copies, values on a grid, lengths), and for
    one of mean and scale without the other.
    """
    x, z = arrays.samples("x", x), arrays.samples("z", z)
    if (mean is None) != (scale is None):
        raise ValueError(
            f"mean and scale must come together, but only {'scale' if mean is None else 'mean'} "
            "was given. Pass both arrays of the posteriors, or neither for KSG alone."
        )
    rows = len(x)
    found = [] if exact is None else [Estimate("closed form", float(exact), math.inf, "")]
    cap = ksg_ceiling(rows, k)
    found.append(Estimate(f"KSG, k = {k}", ksg(x, z, k), cap, f"psi({rows}) - psi({k})"))
    if mean is None:
        return Estimates(found)
    for size in [*(m for m in batch_sizes if m < rows), rows]:
        value, ceiling = gaussian_information(z, mean, scale, size)
        name = f"full set, N = {size}" if size == rows else f"minibatch, M = {size}"
        found.append(Estimate(name, value, ceiling, f"log {size}"))
    return Estimates(found)


class GaussianPairs(NamedTuple):
    """Samples x and z (N, D) and the posteriors N(mean, scale squared) that z was drawn from."""

    x: np.ndarray
    z: np.ndarray
    mean: np.ndarray
    scale: np.ndarray


def gaussian_pairs(information: float, samples: int, dim: int = 2, seed: int = 0) -> GaussianPairs:
    """Draw pairs whose information is known: x and z standard normal, correlated axis by axis.

    Each of `dim` axes carries information / dim nats: -1/2 log(1 - correlation squared). The
    aggregated posterior is the standard normal. Raises `ValueError` for an information below 0 or
    not finite.
    """
    if not 0 <= information < math.inf:
        raise ValueError(
            f"information must be a number of nats, 0 or more, but is {information}. Try 2.0."
        )
    arrays.whole_number("samples", samples, 1)
    arrays.whole_number("dim", dim, 1)
    random = np.random.default_rng(seed)
    x, noise = random.standard_normal((2, samples, dim))
    scale = math.exp(-information / dim)
    mean = math.sqrt(-math.expm1(-2 * information / dim)) * x
    return GaussianPairs(x, mean + scale * noise, mean, np.full_like(x, scale))


def estimator_curves(
    informations: Any,
    batch_sizes: Sequence[int] = (32, 512),
    ks: Sequence[int] = (5,),
    samples: int = 1024,
    dim: int = 2,
    seeds: int = 3,
) -> dict[str, Any]:
    """Read Gaussian pairs of each known information by every estimator, over several seeds.

    Returns `information` (I,), `batch_sizes` (M,), `ks` (K,), `samples`, `dim`, and the readings in
    nats `minibatch` (S, I, M) and `ksg` (S, I, K): what `lvmlab.widgets.estimator_panel` draws. All
    estimators read the same `samples` pairs, so M = samples is the full set. A seed keeps its noise
    along the curve. Raises `ValueError` as `gaussian_pairs`, `gaussian_information` and `ksg` do.
    """
    known = arrays.shaped("informations", arrays.finite("informations", informations), ("I",))
    arrays.whole_number("seeds", seeds, 1)
    minibatch = np.empty((seeds, len(known), len(batch_sizes)))
    neighbours = np.empty((seeds, len(known), len(ks)))
    for seed, row in np.ndindex(seeds, len(known)):
        x, z, mean, scale = gaussian_pairs(float(known[row]), samples, dim, seed)
        minibatch[seed, row] = [gaussian_information(z, mean, scale, m)[0] for m in batch_sizes]
        neighbours[seed, row] = [ksg(x, z, k) for k in ks]
    return {
        "information": known,
        "batch_sizes": np.array(batch_sizes, dtype=int),
        "ks": np.array(ks, dtype=int),
        "samples": samples,
        "dim": dim,
        "minibatch": minibatch,
        "ksg": neighbours,
    }


def infonce_readings(
    information: float,
    sizes: Sequence[int],
    sharpness: float = 1.0,
    samples: int = 1024,
    seeds: int = 5,
) -> np.ndarray:
    """Read Gaussian pairs of a known information by InfoNCE among K candidates, (S, K) in nats.

    The critic scores log f = `sharpness` times log q(z|x) of the pairs' own posterior: 1 is the
    best critic, 0 a constant one, and every other stays below the information and log K on average.
    Each seed reads the same `samples` pairs for every K of `sizes`, in samples / K groups. Raises
    `ValueError` as `gaussian_pairs` does, for a K below 2 or above `samples`, and for a sharpness
    that is negative or not finite.
    """
    arrays.whole_number("seeds", seeds, 1)
    if not sizes or min(sizes) < 2 or max(sizes) > samples:
        raise ValueError(f"sizes must be numbers from 2 to {samples} candidates, got {sizes}")
    if not 0 <= sharpness < math.inf:
        raise ValueError(f"sharpness must be a number, 0 or more, got {sharpness}: try 1.0")
    found = np.empty((seeds, len(sizes)))
    for seed in range(seeds):
        _, z, mean, scale = gaussian_pairs(information, samples, 1, seed)
        code, centre = ((v / scale)[:, 0].astype(np.float32) for v in (z, mean))
        for column, size in enumerate(sizes):
            rows = samples // size * size
            a, b = code[:rows].reshape(-1, 1, size), centre[:rows].reshape(-1, size, 1)
            score = -0.5 * sharpness * (a - b) ** 2  # candidates x are axis 1
            peak = score.max(1, keepdims=True)
            total = np.log(np.exp(score - peak).sum(1)) + peak[:, 0]
            true = np.diagonal(score, axis1=1, axis2=2)
            found[seed, column] = (true - total).mean() + math.log(size)
    return found
