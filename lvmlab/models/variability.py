"""The condition of iVAE's theorem: how much the natural parameters of p(z|u) vary with u.

Normals have k = 2 sufficient statistics for each dimension, z and z^2, with natural parameters
mean / scale^2 and -1 / (2 scale^2). Sources are determined up to an affine map of these statistics
when 2 D + 1 values of u can be found whose differences from the first form an invertible matrix L.
That is sufficient, not necessary, and holds for unlimited data, networks and optimisers only
(VaDE/iVAE paper, Theorem 1 and eq. 2, whose last index is one too high).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lvmlab.conditionals import Mixture


class Variability(NamedTuple):
    """What the matrix of differences of natural parameters says."""

    rank: int
    condition: float
    """Largest over smallest singular value; infinite when the rank is below 2 D."""
    needed: int
    """2 D + 1, the least number of values of u."""

    @property
    def satisfied(self) -> bool:
        """Whether an invertible L can be formed from some of the values of u."""
        return self.rank == self.needed - 1


def natural_parameters(means: Tensor, scales: Tensor) -> Tensor:
    """Natural parameters of N(mean, scale^2) for statistics z and z^2: (U, D) each to (U, 2 D).

    The D of z come first (`expfam-gaussian-1`). Raises `ValueError` for shapes that differ and
    scales that are not positive.
    """
    if means.shape != scales.shape or means.ndim != 2:
        raise ValueError(
            "means and scales must both be (values of u, dimensions), got "
            f"{tuple(means.shape)} and {tuple(scales.shape)}"
        )
    if not (scales > 0).all():
        raise ValueError("scales are standard deviations and must be positive")
    precision = scales**-2
    return torch.cat([means * precision, -precision / 2], 1)


def differences(means: Tensor, scales: Tensor) -> Tensor:
    """The columns lambda(u_l) - lambda(u_0) for l = 1 ... U - 1, (2 D, U - 1).

    With U = 2 D + 1 it is the matrix L (`L-matrix`; equal scales make it singular,
    `L-singular-equal-variances`).
    """
    natural = natural_parameters(means, scales)
    return (natural[1:] - natural[0]).T


def variability(means: Tensor, scales: Tensor) -> Variability:
    """Rank and condition number of `differences`, in float64; means and scales are (U, D).

    With more than 2 D + 1 values of u all are used: an invertible L can be formed from some of
    them just when the rank is 2 D. Rows are scaled to length 1 for the rank, which units of z would
    change otherwise, not for the condition. Raises `ValueError` as `natural_parameters` does.
    """
    found = differences(means.detach().double(), scales.detach().double())
    size, lengths = len(found), found.norm(dim=1, keepdim=True).clamp_min(1e-300)
    rank = int(torch.linalg.matrix_rank(found / lengths)) if found.numel() else 0
    if rank < size:
        return Variability(rank, float("inf"), size + 1)
    values = torch.linalg.svdvals(found)
    return Variability(rank, float(values[0] / values[-1]), size + 1)


def largest_dim(values: int) -> int:
    """The most dimensions D with 2 D + 1 <= `values` of u (`max-latent-dim`)."""
    return max((values - 1) // 2, 0)


def repair(mixture: Mixture, limit: float = 1e8, noise: float = 1e-2) -> bool:
    """Add noise to the natural parameters of a mixture whose L is not invertible; say whether.

    Nothing happens while the condition number is below `limit`. Otherwise each precision is
    multiplied by exp(noise * N(0, 1)) and each mean moved by noise * scale * N(0, 1), with torch's
    generator, so that scales stay positive. Call it after a step: the projection of section 3.
    Raises `ValueError` for a mixture with fewer than 2 D + 1 components, which noise cannot help.
    """
    components, dim = mixture.means.shape
    if components < 2 * dim + 1:
        raise ValueError(
            f"{components} components cannot form L for {dim} dimensions: {2 * dim + 1} are "
            f"needed, so at most {largest_dim(components)} dimensions"
        )
    with torch.no_grad():
        scales = mixture.log_scales.exp()
        if variability(mixture.means, scales).condition < limit:
            return False
        mixture.means.add_(noise * scales * torch.randn_like(scales))
        mixture.log_scales.sub_(noise / 2 * torch.randn_like(scales))
    return True
