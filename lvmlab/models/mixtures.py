"""Mixtures on the line: every factor of p and q is a mixture of normals with a gradient."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from lvmlab import noise
from lvmlab.conditionals import StandardNormal
from lvmlab.joint import Joint
from lvmlab.networks import MLP

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class MixtureOfNormals(Distribution):
    """A mixture of K normals on the line, whose draws carry a gradient to all parameters.

    logits, loc, scale: (..., K); events have shape (1,). torch's MixtureSameFamily draws without
    a gradient; here it is that of the inverse distribution function at the value drawn,
    dz = -dF(z) / f(z), exact because there is one dimension only (Figurnov et al. 2018).
    """

    has_rsample = True
    support = constraints.independent(constraints.real, 1)
    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, logits: Tensor, loc: Tensor, scale: Tensor):
        self.log_weights, self.loc, self.scale = logits.log_softmax(-1), loc, scale
        super().__init__(loc.shape[:-1], torch.Size([1]), validate_args=False)

    @property
    def mean(self) -> Tensor:
        return (self.log_weights.exp() * self.loc).sum(-1, keepdim=True)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        # parameters get the sample's axes first, so that a seed's noise is enough for its draw
        shape = (*sample_shape, *self.batch_shape, self.loc.shape[-1])
        log_weights, loc, scale = (
            v.expand(shape) for v in (self.log_weights, self.loc, self.scale)
        )
        uniform = torch.special.ndtr(noise.like(loc[..., :1]))
        below = (log_weights.exp().cumsum(-1)[..., :-1] < uniform).sum(-1)
        chosen = F.one_hot(below, loc.shape[-1]).to(loc)
        value = ((loc + scale * noise.like(loc[..., :1])) * chosen).sum(-1, keepdim=True).detach()
        standardised = (value - loc) / scale
        cumulative = (log_weights.exp() * torch.special.ndtr(standardised)).sum(-1, keepdim=True)
        density = (log_weights.exp() * _density(standardised) / scale).sum(-1, keepdim=True)
        return value - (cumulative - cumulative.detach()) / density.detach().clamp_min(1e-30)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            return self.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        standardised = (value - self.loc) / self.scale
        nats = -0.5 * standardised**2 - self.scale.log() - _HALF_LOG_TWO_PI
        return (self.log_weights + nats).logsumexp(-1)


class MixturePrior(nn.Module):
    """A learned p(z) or q(x) on the line: K normals, at first spread evenly over [-3, 3]."""

    def __init__(self, components: int, floor: float):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.loc = nn.Parameter(torch.linspace(-3, 3, components))
        self.raw_scale = nn.Parameter(torch.zeros(components))
        self.floor = floor

    def forward(self) -> Distribution:
        return MixtureOfNormals(self.logits, self.loc, self.floor + F.softplus(self.raw_scale))


class MixtureConditional(nn.Module):
    """p(x|z) or q(z|x) on the line: K normals regressed from the parent (Bishop 1994)."""

    spread: Tensor

    def __init__(self, components: int, hidden: int, floor: float):
        super().__init__()
        self.network = MLP(1, hidden, hidden, 3 * components, activation=nn.SiLU)
        self.floor = floor
        # without different starting points all components would stay one
        self.register_buffer("spread", torch.linspace(-3, 3, components))

    def forward(self, parent: Tensor) -> Distribution:
        logits, loc, raw = self.network(parent).chunk(3, -1)
        return MixtureOfNormals(logits, self.spread + loc, self.floor + F.softplus(raw))


def mixtures_1d(
    components: int = 10, hidden: int = 10, floor: float = 0.05, learned_priors: bool = True
) -> tuple[Joint, Joint]:
    """p(z) p(x|z) and q(x) q(z|x) over x and z of shape (B, 1), each factor a mixture of normals.

    The conditionals are regressed by two hidden layers with the swish activation. With
    `learned_priors=False` p(z) and q(x) are N(0, 1). All scales are floor + softplus(.).
    The models of the MIM thesis, appendix B. Raises `ValueError` for sizes below 1 and a floor
    that is not positive.
    """
    if components < 1:
        raise ValueError(f"components must be a whole number from 1 up, got {components}")
    if not 0 < floor < math.inf:
        raise ValueError(f"floor must be positive, got {floor}: try 0.05")

    def prior() -> nn.Module:
        return MixturePrior(components, floor) if learned_priors else StandardNormal(1)

    def conditional() -> nn.Module:
        return MixtureConditional(components, hidden, floor)

    p = Joint("p", {"z": prior(), "x|z": conditional()})
    q = Joint("q", {"x": prior(), "z|x": conditional()})
    return p, q


def _density(standardised: Tensor) -> Tensor:
    return torch.exp(-0.5 * standardised**2 - _HALF_LOG_TWO_PI)
