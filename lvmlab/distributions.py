"""What torch.distributions lacks: point masses, reparameterised draws under vmap, pixels.

Each class has `sample`, `log_prob` and shapes as torch's own. Log-probabilities are in nats and
keep every constant, so that likelihoods of different models can be compared.
"""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from lvmlab import noise

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class Normal(torch.distributions.Normal):
    """torch's Normal, whose noise also works inside `torch.vmap(..., randomness="different")`.

    loc, scale: tensors of one shape; scale is a standard deviation. torch draws its noise in
    place, which vmap refuses; `noise.like` does not, and it can be supplied from outside.
    """

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        loc = self.loc.expand(self._extended_shape(torch.Size(sample_shape)))
        return loc + self.scale * noise.like(loc)

    def log_prob(self, value: Tensor) -> Tensor:
        standardised = (value - self.loc) / self.scale
        return -0.5 * standardised**2 - self.scale.log() - _HALF_LOG_TWO_PI


class Delta(Distribution):
    """All mass at one value: what a stored assignment or a deterministic code draws.

    value: (B, *event) tensor; the last `event_dim` axes are one event. `log_prob` is 0 where the
    value agrees and minus infinity elsewhere: a probability, exact for discrete latents. For a
    continuous latent there is no density, so bounds that use this log_prob as one do not hold
    (CoLLike, appendix on continuous latents).
    """

    has_rsample = True
    support = constraints.real
    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, value: Tensor, event_dim: int | None = None):
        event_dim = max(value.ndim - 1, 0) if event_dim is None else event_dim
        split = value.ndim - event_dim
        super().__init__(value.shape[:split], value.shape[split:], validate_args=False)
        self.value = value

    @property
    def mean(self) -> Tensor:
        return self.value

    @property
    def mode(self) -> Tensor:
        return self.value

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.value.expand(*sample_shape, *self.value.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        same = value == self.value
        if self.event_shape:
            same = same.flatten(len(self.batch_shape)).all(-1)
        return torch.where(same, 0.0, -math.inf)

    def entropy(self) -> Tensor:
        return torch.zeros(self.batch_shape, device=self.value.device)


class DiscretisedLogistic(Distribution):
    """A logistic density summed over the bins of pixels on a grid from `low` to 1.

    loc, scale: tensors of one shape. Values are the `levels` points of the grid, 8-bit pixels in
    [-1, 1] unless said otherwise; each stands for the bin around it, and the two outermost bins
    keep the tails, so the probabilities sum to 1. `log_prob` is in nats (Kingma et al. 2016; the
    VaDE/iVAE images).
    Raises `ValueError` for fewer than two levels.
    """

    has_rsample = False
    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "loc": constraints.real,
        "scale": constraints.positive,
    }

    def __init__(self, loc: Tensor, scale: Tensor | float, levels: int = 256, low: float = -1.0):
        if levels < 2 or not low < 1:
            raise ValueError(f"expected levels from 2 up and low below 1, got {levels}, {low}")
        self.loc, self.scale = torch.broadcast_tensors(loc, torch.as_tensor(scale).to(loc))
        self.low, self.step = low, (1 - low) / (levels - 1)
        super().__init__(self.loc.shape, validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.interval(self.low, 1.0)

    @property
    def mean(self) -> Tensor:
        """The location: the mean of the density before it is cut into bins."""
        return self.loc

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            loc = self.loc.expand(self._extended_shape(torch.Size(sample_shape)))
            uniform = torch.rand_like(loc).clamp(1e-6, 1 - 1e-6)
            return self._nearest(loc + self.scale * torch.logit(uniform))

    def log_prob(self, value: Tensor) -> Tensor:
        upper = (value - self.loc + self.step / 2) / self.scale
        lower = (value - self.loc - self.step / 2) / self.scale
        # log(sigma(u) - sigma(l)) without cancelling, also far out in a tail
        inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(lower - upper))
        left, right = F.logsigmoid(upper), F.logsigmoid(-lower)
        first, last = self.low + self.step / 2, 1 - self.step / 2
        return torch.where(value < first, left, torch.where(value > last, right, inside))

    def _nearest(self, value: Tensor) -> Tensor:
        return ((value.clamp(self.low, 1) - self.low) / self.step).round() * self.step + self.low


class Dequantised(Distribution):
    """A density made into a lower bound on the probability of whole numbers 0 ... levels - 1.

    density: a distribution over (0, 1) or the reals of event shape E; a whole number v is scored
    at (v + u) / levels with u uniform, minus log(levels) a dimension for the change of scale.
    `log_prob` is random: its expectation is a lower BOUND on the log-probability of the bin
    (Theis et al. 2016), in nats. Draws are rounded down and cut to the range.
    """

    has_rsample = False
    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, density: Distribution, levels: int = 256):
        self.density, self.levels = density, levels
        super().__init__(density.batch_shape, density.event_shape, validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        whole = constraints.interval(0, self.levels - 1)
        return constraints.independent(whole, len(self.event_shape)) if self.event_shape else whole

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            pixels = self.density.sample(torch.Size(sample_shape)) * self.levels
            return pixels.floor().clamp(0, self.levels - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        noisy = (value + torch.rand_like(value)) / self.levels
        return self.density.log_prob(noisy) - self.event_shape.numel() * math.log(self.levels)
