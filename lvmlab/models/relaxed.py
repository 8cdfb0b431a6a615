"""Relaxed VQ-VAE: a grid of codes, each a relaxed draw from a mixture of unit Gaussians.

A VQ-VAE gives every place of a grid the nearest of K codes. Relaxed, the place has probabilities
over the codes, the responsibilities of a mixture whose components all have identity covariance, and
a draw is a point of the simplex (Sonderby et al. 2017; VaDE/iVAE paper, appendix B). Such a mixture
cannot form an invertible L: its scales are all equal (`L-singular-equal-variances`).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent
from torch.distributions.relaxed_categorical import ExpRelaxedCategorical

from lvmlab.conditionals import Mixture
from lvmlab.distributions import Delta
from lvmlab.joint import Conditional, Joint
from lvmlab.models.identifiable import Responsibilities

Grid = Callable[[Tensor], Tensor]


class RelaxedCodes(nn.Module):
    """q(u|x) over the log of relaxed one-hots u (B, G, K), or p(u) when there is no encoder.

    codes: a `Mixture` of K unit Gaussians; encoder: x to places (B, G, D), whose responsibilities
    are the probabilities (`rvq-responsibilities`). Without one all codes are equally likely at
    `places` places. The logarithm, because a relaxed one-hot itself underflows to 0.
    """

    temperature: Tensor

    def __init__(
        self, codes: Mixture, temperature: float, encoder: Grid | None = None, places: int = 1
    ):
        super().__init__()
        self.codes, self.encoder, self.places = codes, encoder, places
        self.register_buffer("temperature", torch.tensor(float(temperature)))

    def forward(self, *given: Tensor) -> Distribution:
        if self.encoder is None:
            logits = self.codes.means.new_zeros(self.places, len(self.codes.means))
        else:
            logits = self.probabilities(*given).log()
        relaxed = ExpRelaxedCategorical(self.temperature, logits=logits, validate_args=False)
        return Independent(relaxed, 1, validate_args=False)

    def probabilities(self, x: Tensor) -> Tensor:
        """Responsibilities (B, G, K) of the codes for every place."""
        if self.encoder is None:
            raise ValueError("this RelaxedCodes is a prior, which has no encoder to ask about x")
        categories = Responsibilities(self.codes)(self.encoder(x))
        return categories.probs.clamp_min(1e-12)  # type: ignore[attr-defined]

    def mean(self, x: Tensor) -> Tensor:
        """The expected code at every place, (B, G, D): the z of x."""
        return self.probabilities(x) @ self.codes.means


class Embedded(nn.Module):
    """A decoder of places (B, G, D) as one of log relaxed one-hots (B, G, K)."""

    def __init__(self, decoder: Grid, codes: Mixture):
        super().__init__()
        self.decoder, self.codes = decoder, codes

    def forward(self, log_u: Tensor) -> Tensor:
        return self.decoder(log_u.exp() @ self.codes.means)


class AtTheCode(nn.Module):
    """q(z|x) with all mass at the encoder's answer."""

    def __init__(self, encoder: Grid):
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Distribution:
        return Delta(self.encoder(x))


def unit_codes(number: int, dim: int) -> Mixture:
    """A mixture of `number` unit Gaussians with even weights, of which only the means are learned.

    Means start as N(0, 1). Raises `ValueError` for sizes below 1.
    """
    if number < 1 or dim < 1:
        raise ValueError(f"number and dim must be 1 or more, got {number} and {dim}")
    codes = Mixture(torch.randn(number, dim), learned=True)
    codes.log_scales.requires_grad_(False)
    codes.logits.requires_grad_(False)
    return codes


def relaxed_vq(
    encoder: Grid,
    decoder: Grid,
    likelihood: Callable[[nn.Module], Conditional],
    codes: Mixture,
    places: int,
    temperature: float = 0.5,
) -> tuple[Joint, Joint]:
    """Relaxed VQ-VAE, p(u) p(x|u) and q(x) q(u|x), u the log of relaxed one-hots (B, G, K).

    encoder: x to (B, G, D); decoder: (B, G, D) to what `likelihood`, such as `Bernoulli`, takes.
    Its `elbo` is a bound for the model with relaxed u (Maddison et al. 2017), one draw at a time.
    Raises `ValueError` for a temperature that is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}: try 0.5")
    prior = RelaxedCodes(codes, temperature, places=places)
    p = Joint("p", {"u": prior, "x|u": likelihood(Embedded(decoder, codes))})
    return p, Joint("q", {"x": None, "u|x": RelaxedCodes(codes, temperature, encoder)})


def autoencoder(
    encoder: Grid, decoder: Grid, likelihood: Callable[[Grid], Conditional]
) -> tuple[Joint, Joint]:
    """The plain autoencoder beside it: p(x|z) without a prior, q(z|x) all at one point.

    `elbo` is then -log p(x|z) alone, no bound on anything.
    """
    p = Joint("p", {"x|z": likelihood(decoder)})
    return p, Joint("q", {"x": None, "z|x": AtTheCode(encoder)})
