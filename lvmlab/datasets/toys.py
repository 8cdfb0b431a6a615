"""Mixtures of round Gaussians: data whose density, posterior and entropy are known."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lvmlab.datasets.dataset import bucket


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """A mixture of K round Gaussians in D dimensions, sum_k weights_k N(means_k, scale_k^2 I).

    `weights` (K,) positive, summing to 1; `means` (K, D); `scale` a standard deviation, one for all
    or (K,). Kept in float64. Raises ValueError for anything else.
    """

    weights: Tensor
    means: Tensor
    scale: Tensor

    def __init__(
        self,
        weights: Tensor | Sequence[float],
        means: Tensor | Sequence[Sequence[float]],
        scale: Tensor | Sequence[float] | float,
    ) -> None:
        w, m, s = (torch.as_tensor(v, dtype=torch.float64) for v in (weights, means, scale))
        if m.dim() != 2 or m.numel() == 0:
            raise ValueError(f"means must have shape (components, dim); came {tuple(m.shape)}")
        if w.shape != m.shape[:1] or not (w > 0).all() or not math.isclose(float(w.sum()), 1.0):
            raise ValueError(
                f"weights must be {len(m)} positive numbers (one a row of means) that sum to 1; "
                f"came {w.tolist()}"
            )
        if s.dim() > 1 or s.numel() not in (1, len(m)) or not ((s > 0) & s.isfinite()).all():
            raise ValueError(
                f"scale is a standard deviation: one positive number or {len(m)} of them; "
                f"came {s.tolist()}"
            )
        if not m.isfinite().all():
            raise ValueError("means must be finite; came NaN or infinite values")
        object.__setattr__(self, "weights", w)
        object.__setattr__(self, "means", m)
        object.__setattr__(self, "scale", s.expand(len(m)))

    @property
    def dim(self) -> int:
        """The number of dimensions D."""
        return self.means.shape[1]

    def sample(
        self,
        size: int,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> dict[str, Tensor]:
        """Draws `x` (size, D), its component `label` (size,) and `index` 0 ... size - 1.

        With `seed` the draw is the same each time; with `generator`, or with neither (torch's own
        stream), it goes on. `x` has torch's default dtype unless another is given.
        """
        if size < 1:
            raise ValueError(f"size must be at least 1; came {size}")
        if seed is not None and generator is not None:
            raise ValueError("give seed or generator, not both")
        if seed is not None:
            # a stream of the toys' own: data must not be correlated with weights of the same seed
            generator = torch.Generator().manual_seed(bucket(f"toys {seed}", 2**32))
        label = torch.multinomial(self.weights, size, replacement=True, generator=generator)
        noise = torch.randn(size, self.dim, dtype=torch.float64, generator=generator)
        x = self.means[label] + self.scale[label, None] * noise
        return {
            "x": x.to(dtype or torch.get_default_dtype()),
            "label": label,
            "index": torch.arange(size),
        }

    def log_joint(self, x: Tensor) -> Tensor:
        """The log-density log p(x, k) for every component, (..., D) -> (..., K), in nats."""
        if x.dim() < 1 or x.shape[-1] != self.dim:
            raise ValueError(f"x must have shape (..., {self.dim}); came {tuple(x.shape)}")
        weights, means, scale = (t.to(x) for t in (self.weights, self.means, self.scale))
        squares = ((x.unsqueeze(-2) - means) / scale[:, None]).square().sum(-1)
        constant = self.dim * (scale.log() + 0.5 * math.log(2 * math.pi))
        return weights.log() - constant - 0.5 * squares

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density log p(x), exactly, (..., D) -> (...), in nats."""
        return self.log_joint(x).logsumexp(-1)

    def posterior(self, x: Tensor) -> Tensor:
        """p(k | x), exactly, (..., D) -> (..., K)."""
        return self.log_joint(x).softmax(-1)

    def entropy(self, points: int = 20_001) -> float:
        """The differential entropy in nats, by quadrature on a grid; for one dimension only.

        The trapezoid rule over all means plus and minus twelve scales; its error is below 1e-9
        as long as the grid has ten points a scale. Raises ValueError in more dimensions.
        """
        if self.dim != 1:
            raise ValueError(
                f"entropy by quadrature needs one dimension; this mixture has {self.dim}. "
                "Use entropy_estimate() or entropy_ceiling()"
            )
        reach = 12 * self.scale.max()
        low, high = self.means.min() - reach, self.means.max() + reach
        points = max(points, int(10 * (high - low) / self.scale.min()))
        grid = torch.linspace(float(low), float(high), points, dtype=torch.float64)
        log_p = self.log_prob(grid[:, None])
        return float(torch.trapezoid(-log_p.exp() * log_p, grid))

    def entropy_estimate(self, samples: int = 100_000, seed: int = 0) -> tuple[float, float]:
        """A Monte Carlo estimate of the entropy in nats and its standard error, any dimension."""
        x = self.sample(samples, seed, dtype=torch.float64)["x"]
        nll = -self.log_prob(x)
        return float(nll.mean()), float(nll.std() / math.sqrt(samples))

    def entropy_ceiling(self) -> float:
        """The entropy of (x, k) in nats: H(k) + E_k[(D/2) log(2 pi e scale_k^2)].

        An upper bound on the entropy of x, tight as the components move apart.
        """
        within = self.dim * (0.5 * math.log(2 * math.pi * math.e) + self.scale.log())
        return float((self.weights * (within - self.weights.log())).sum())


def mixture_1d(
    means: Sequence[float] = (-1.0, 1.0),
    scale: float | Sequence[float] = 0.5,
    weights: Sequence[float] | None = None,
) -> GaussianMixture:
    """A mixture on the line, by default 1/2 N(-1, .5^2) + 1/2 N(1, .5^2): two humps.

    With the defaults the posterior of the right hump is sigmoid(8 x).
    """
    column = torch.as_tensor(means, dtype=torch.float64).reshape(-1, 1)
    return GaussianMixture(_uniform(len(column)) if weights is None else weights, column, scale)


def five_blobs(dim: int = 2, centre: bool = True) -> GaussianMixture:
    """Five round components with scale 0.25, the toy of the MIM experiments; `dim` is 2 or 20.

    One component at the origin and four on the unit circle at 0, 72, 144 and 216 degrees: the
    place at 288 degrees is empty, so the picture is not symmetric. In 20 dimensions the other 18
    coordinates are evenly spaced numbers between -50 and 50 which keep the components far apart.
    `centre=False` leaves the one at the origin out.
    """
    if dim not in (2, 20):
        raise ValueError(f"dim must be 2 or 20 for five_blobs; came {dim}")
    angles = torch.arange(4, dtype=torch.float64) * 2 * math.pi / 5
    ring = torch.stack([angles.cos(), angles.sin()], 1)
    plane = torch.cat([torch.zeros(1, 2, dtype=torch.float64), ring])
    means = torch.linspace(-50, 50, 5 * dim, dtype=torch.float64).reshape(5, dim)
    means[:, :2] = plane
    means = means if centre else means[1:]
    return GaussianMixture(_uniform(len(means)), means, 0.25)


def _uniform(components: int) -> Tensor:
    return torch.full((components,), 1 / components, dtype=torch.float64)
