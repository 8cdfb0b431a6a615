"""Conditionals: modules that are called with their parents and give back a distribution.

The network inside maps parents to numbers; the conditional turns the numbers into a
distribution over one example (all trailing axes are one event). `scale` is always a standard
deviation.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MixtureSameFamily, constraints
from torch.nn import functional as F

from lvmlab import distributions as D

Network = Callable[..., Tensor]

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class Gaussian(nn.Module):
    """p(x|z) = N(loc(z), scale(z)^2), diagonal, over x of shape (D,).

    network: parents to (B, 2 D), locations then raw scales, which become floor + softplus(raw).
    With `scale` given (a positive number, the same everywhere) the network gives (B, D) locations
    only; with `scale="learned"` one number is learned for all dimensions, starting at 1 (again
    above the floor). `floor` keeps every scale above it: A-MIM has no term that holds the
    encoder's scale up (MIM thesis, chapter 3; `amim-unbounded-below`), so there the floor is part
    of the model family. Raises `ValueError` for a scale or floor that is not positive.
    """

    def __init__(self, network: Network, scale: float | str | None = None, floor: float = 1e-3):
        super().__init__()
        learned = isinstance(scale, str)
        try:
            fixed = None if scale is None or learned else float(scale)
        except (TypeError, ValueError, RuntimeError):  # more than one number, or none
            fixed = math.nan
        if (learned and scale != "learned") or (fixed is not None and math.isnan(fixed)):
            raise ValueError(f'scale must be a positive number, "learned" or None, got {scale!r}')
        if fixed is not None and not 0 < fixed < math.inf:
            raise ValueError(f"scale is a standard deviation and must be positive, got {scale}")
        if not 0 < floor < math.inf:
            raise ValueError(f"floor must be positive, got {floor}: try 1e-3")
        if learned and floor >= 1:
            raise ValueError(f"a learned scale starts at 1, above its floor, got floor {floor}")
        self.network, self.floor, self.fixed_scale = network, floor, fixed
        self.raw_scale = (
            nn.Parameter(torch.tensor(_raw(1.0, floor))) if scale == "learned" else None
        )

    def forward(self, *parents: Tensor) -> Distribution:
        out = self.network(*parents)
        if self.fixed_scale is not None:
            loc, scale = out, torch.full_like(out, self.fixed_scale)
        elif self.raw_scale is not None:
            loc, scale = out, (self.floor + F.softplus(self.raw_scale)).expand_as(out)
        else:
            if out.shape[-1] % 2:
                raise ValueError(
                    f"the network of a Gaussian without a fixed scale must give an even number of "
                    f"outputs (locations, then raw scales), got {out.shape[-1]}"
                )
            loc, raw = out.chunk(2, -1)
            scale = self.floor + F.softplus(raw)
        return _event(D.Normal(loc, scale, validate_args=False))


class Bernoulli(nn.Module):
    """p(x|z) with independent pixels: the network maps the parents to (B, D) logits.

    Scores grey values in [0, 1] as the usual cross-entropy, which is a log-probability only for
    values 0 and 1 (`bernoulli-likelihood`).
    """

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, *parents: Tensor) -> Distribution:
        return _event(_GreyBernoulli(logits=self.network(*parents), validate_args=False))


class Categorical(nn.Module):
    """q(k|x) or p(k|z) over K categories: the network maps the parents to (B, K) logits."""

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, *parents: Tensor) -> Distribution:
        logits = self.network(*parents)
        return torch.distributions.Categorical(logits=logits, validate_args=False)


class Proportions(nn.Module):
    """A prior p(k) over K categories: uniform, or learned from the uniform on.

    `Proportions(10)` is uniform; `learned=True` makes the logits a parameter. `maximise` sets
    them to the weighted counts, the M step of EM. Raises `ValueError` for fewer than 1 category.
    """

    def __init__(self, categories: int, learned: bool = False):
        super().__init__()
        if categories < 1:
            raise ValueError(f"categories must be a whole number from 1 up, got {categories}")
        self.learned = learned
        self.logits = nn.Parameter(torch.zeros(categories), requires_grad=learned)

    def forward(self) -> Distribution:
        return torch.distributions.Categorical(logits=self.logits, validate_args=False)

    def maximise(self, values: Tensor, weights: Tensor) -> None:
        """Set p(k) to the mean of the responsibilities `weights` (N, K), when it is learned."""
        if self.learned:
            with torch.no_grad():
                self.logits.copy_(weights.mean(0).clamp_min(1e-12).log())


class StandardNormal(nn.Module):
    """The prior p(z) = N(0, I) over z of shape (dim,)."""

    zero: Tensor

    def __init__(self, dim: int):
        super().__init__()
        if dim < 1:
            raise ValueError(f"dim must be a whole number from 1 up, got {dim}")
        self.register_buffer("zero", torch.zeros(dim))

    def forward(self) -> Distribution:
        standard = _Standard(self.zero, torch.ones_like(self.zero), validate_args=False)
        return Independent(standard, 1, validate_args=False)


class Mixture(nn.Module):
    """The prior p(z) = sum_k w_k N(mean_k, scale_k^2), diagonal, over z of shape (D,).

    means: (K, D); scales: a number, (K,) or (K, D); weights: (K,) or None for even ones. With
    `learned=True` all three are parameters. `log_prob` runs over all K by log-sum-exp, and draws
    carry no gradient to the parameters (`gmm-log-density`).
    Raises `ValueError` for shapes that disagree and for scales or weights that are not positive.
    """

    def __init__(
        self,
        means: Tensor,
        scales: Tensor | float = 1.0,
        weights: Tensor | None = None,
        learned: bool = False,
    ):
        super().__init__()
        means = torch.as_tensor(means)
        if means.ndim != 2:
            raise ValueError(f"means must be (K, D), got shape {tuple(means.shape)}")
        scales = torch.as_tensor(scales).to(means)
        scales = scales.unsqueeze(-1) if scales.ndim == 1 else scales
        weights = torch.ones(len(means)) if weights is None else torch.as_tensor(weights)
        if weights.shape != (len(means),) or not (weights > 0).all():
            raise ValueError(
                f"weights must be {len(means)} positive numbers, one for each mean, got {weights}"
            )
        if (
            scales.ndim > 2
            or scales.shape[:1] not in ((), (1,), (len(means),))
            or not (scales > 0).all()
        ):
            raise ValueError(
                f"scales must be positive and a number, ({len(means)},) or {tuple(means.shape)}, "
                f"got shape {tuple(scales.shape)}"
            )
        self.means = nn.Parameter(means.clone(), requires_grad=learned)
        self.log_scales = nn.Parameter(scales.log().expand_as(means).clone(), requires_grad=learned)
        self.logits = nn.Parameter(weights.to(means).log(), requires_grad=learned)

    def forward(self) -> Distribution:
        weights = torch.distributions.Categorical(logits=self.logits, validate_args=False)
        parts = _event(D.Normal(self.means, self.log_scales.exp(), validate_args=False))
        return MixtureSameFamily(weights, parts, validate_args=False)


class VampPrior(nn.Module):
    """The prior p(z) = (1/K) sum_k q(z|u_k): the encoder's answer to K learned pseudo-inputs.

    encoder: the conditional of q (shared, not copied); pseudo_inputs: (K, *x) start values, for
    example K training rows; `limits` clips them to the range of the data. The 1/K belongs there
    (MIM thesis, footnote to equation 3.24, which omits it; `vampprior-normalised`).
    """

    def __init__(
        self,
        encoder: Callable[..., Distribution],
        pseudo_inputs: Tensor,
        limits: tuple[float, float] | None = None,
    ):
        super().__init__()
        if pseudo_inputs.ndim < 2 or len(pseudo_inputs) < 1:
            raise ValueError(f"pseudo_inputs must be (K, *x), got {tuple(pseudo_inputs.shape)}")
        self.encoder, self.limits = encoder, limits
        self.pseudo_inputs = nn.Parameter(pseudo_inputs.clone())

    def forward(self) -> Distribution:
        inputs = self.pseudo_inputs.clamp(*self.limits) if self.limits else self.pseudo_inputs
        even = torch.distributions.Categorical(
            logits=torch.zeros(len(inputs), device=inputs.device), validate_args=False
        )
        return MixtureSameFamily(even, self.encoder(inputs), validate_args=False)


class Components(nn.Module):
    """p(x|k) = N(mean_k, scale^2 I): one isotropic Gaussian for each of K categories.

    means: (K, D) start values; scale: a positive start value shared by all components, or one for
    each with `separate=True`. `floor` keeps scales above it. The M step of EM has a closed form,
    `maximise`; gradients reach means and scales as well. `learned_scale=False` keeps the scale.
    Raises `ValueError` for means that are not (K, D) and scales that are not above the floor.
    """

    def __init__(
        self,
        means: Tensor,
        scale: float = 1.0,
        separate: bool = False,
        learned_scale: bool = True,
        floor: float = 1e-3,
    ):
        super().__init__()
        means = torch.as_tensor(means)
        if means.ndim != 2:
            raise ValueError(f"means must be (K, D), got shape {tuple(means.shape)}")
        if not floor < scale < math.inf:
            raise ValueError(f"scale must be a number above the floor {floor}, got {scale}")
        self.means = nn.Parameter(means.clone())
        raw = torch.full((len(means),) if separate else (), _raw(scale, floor)).to(means)
        self.raw_scale = nn.Parameter(raw, requires_grad=learned_scale)
        self.floor = floor

    @property
    def scale(self) -> Tensor:
        """Standard deviations, (K,) when separate, else ()."""
        return self.floor + F.softplus(self.raw_scale)

    def forward(self, k: Tensor) -> Distribution:
        scale = self.scale[k, None] if self.raw_scale.ndim else self.scale
        means = self.means[k]
        return _event(D.Normal(means, scale.expand_as(means), validate_args=False))

    def maximise(self, x: Tensor, weights: Tensor) -> None:
        """Weighted maximum likelihood: x (N, D), responsibilities `weights` (N, K).

        A component without any weight keeps its mean and, when scales are separate, its scale.
        """
        with torch.no_grad():
            mass = weights.sum(0)
            means = weights.T @ x / mass.clamp_min(1e-12)[:, None]
            self.means.copy_(torch.where(mass[:, None] > 1e-9, means, self.means))
            if not self.raw_scale.requires_grad:
                return
            # not by a product of matrices: far from 0 that cancels all digits of a tight cluster
            apart = torch.cdist(x, self.means, compute_mode="donot_use_mm_for_euclid_dist")
            squared = (weights * apart.square()).sum(0)
            if self.raw_scale.ndim:
                variance = squared / mass.clamp_min(1e-12) / x.shape[1]
                variance = torch.where(mass > 1e-9, variance, self.scale**2)
            else:
                variance = squared.sum() / mass.sum() / x.shape[1]
            above = (variance.sqrt() - self.floor).clamp_min(1e-6)
            self.raw_scale.copy_(above + torch.log(-torch.expm1(-above)))  # softplus backwards


class Assignment(nn.Module):
    """q(z|index): one stored latent for each row of the data, CoLLike's side of the pairing.

    latents: (N,) whole numbers or (N, *z), drawn once from the prior; rows are re-paired in place
    by `steps.match_then_descend`. Called with `index` (B,) long, gives a `Delta` at the stored
    values. It is a buffer, so a checkpoint keeps it (CoLLike, Algorithm 1).
    Raises `ValueError` for an index outside 0 ... N - 1 and for latents of another shape.
    """

    latents: Tensor

    def __init__(self, latents: Tensor):
        super().__init__()
        if latents.ndim < 1 or len(latents) < 1:
            raise ValueError(f"latents must be (N, *z) with N >= 1, got {tuple(latents.shape)}")
        self.register_buffer("latents", latents.clone())

    def forward(self, index: Tensor) -> Distribution:
        if index.device.type == "cpu" and not self._inside(index):
            raise ValueError(
                f"index runs from {int(index.min())} to {int(index.max())}, but this Assignment "
                f"stores {len(self.latents)} latents: draw one for each row of the data"
            )
        return D.Delta(self.latents[index])

    def _inside(self, index: Tensor) -> bool:
        return bool((index >= 0).all() and (index < len(self.latents)).all())

    def store(self, index: Tensor, latents: Tensor) -> None:
        """Write `latents` (B, *z) back to the rows `index` (B,)."""
        expected = (len(index), *self.latents.shape[1:])
        if latents.shape != expected:
            raise ValueError(f"latents must have shape {expected}, got {tuple(latents.shape)}")
        self.latents[index] = latents.to(self.latents)


class _Standard(D.Normal):
    def log_prob(self, value: Tensor) -> Tensor:
        return -0.5 * value**2 - _HALF_LOG_TWO_PI  # the same number, at half the cost


class _GreyBernoulli(torch.distributions.Bernoulli):
    support: constraints.Constraint = constraints.unit_interval  # type: ignore[assignment]


def _event(distribution: Distribution) -> Independent:
    """All axes but the first are one example."""
    return Independent(distribution, len(distribution.batch_shape) - 1, validate_args=False)


def _raw(scale: float, floor: float) -> float:
    """The raw value whose floor + softplus(raw) is `scale`."""
    above = scale - floor
    return above + math.log(-math.expm1(-above))
