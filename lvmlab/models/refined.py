"""SA-VAE: an encoder whose answer is refined, example by example, by steps on the bound."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from lvmlab import distributions as D
from lvmlab import noise
from lvmlab.joint import Conditional, Joint


class Refined(nn.Module):
    """q(z|x) after `steps` steps of ascent on the bound of p, from where an encoder starts it.

    `Joint("q", {"x": None, "z|x": Refined(encoder, p)})`. encoder: a conditional that gives a
    diagonal Gaussian, such as `Gaussian`. Each step draws one z for each example and moves its
    location and log-variance by momentum; gradients longer than `clip` are cut, example by example.
    While gradients are on, the steps are differentiated too, exactly, where the paper uses finite
    differences of gradients (Kim et al. 2018), so that encoder and decoder learn to be refined.
    rate: 0.02 is the published 1 on a mean over a batch of 50. data, latent: the names under which
    p knows what the conditional is called with and gives. One call costs `steps` passes through p
    and back, and trained by `descend` some more.
    Raises `ValueError` for steps below 1, a rate or clip that is not positive, a momentum outside
    [0, 1), and an encoder that gives no Gaussian.
    """

    def __init__(
        self,
        encoder: Conditional,
        p: Joint,
        steps: int = 20,
        rate: float = 0.02,
        momentum: float = 0.5,
        clip: float = 5.0,
        data: Sequence[str] = ("x",),
        latent: str = "z",
    ):
        super().__init__()
        if steps < 1 or not rate > 0 or not clip > 0 or not 0 <= momentum < 1:
            raise ValueError(
                f"expected steps from 1 up, a positive rate and clip, and momentum in [0, 1), got "
                f"{steps}, {rate}, {clip} and {momentum}"
            )
        self.encoder, self.steps, self.rate = encoder, steps, rate
        self.momentum, self.clip, self.data, self.latent = momentum, clip, tuple(data), latent
        self._p = [p]  # in a list, so that q does not count p's parameters among its own

    def forward(self, *parents: Tensor) -> Distribution:
        start: Any = self.encoder(*parents)
        normal = getattr(start, "base_dist", None)
        if not isinstance(normal, torch.distributions.Normal):
            raise ValueError(
                f"Refined needs an encoder that gives a diagonal Gaussian, got {start}: try "
                "conditionals.Gaussian"
            )
        learning = torch.is_grad_enabled()
        place = torch.cat([normal.loc, 2 * normal.scale.log()], -1)
        given = dict(zip(self.data, parents, strict=True))
        with torch.enable_grad():
            place = place if place.requires_grad else place.detach().requires_grad_()
            speed = torch.zeros_like(place)
            for _ in range(self.steps):
                speed = self.momentum * speed + self._slope(given, place, learning)
                place = place + self.rate * speed
        loc, log_variance = (place if learning else place.detach()).chunk(2, -1)
        refined = D.Normal(loc, (log_variance / 2).exp(), validate_args=False)
        return Independent(refined, 1, validate_args=False)

    def _slope(self, given: dict[str, Tensor], place: Tensor, learning: bool) -> Tensor:
        """The gradient of each example's bound, cut to the length `clip`."""
        loc, log_variance = place.chunk(2, -1)
        z = loc + (log_variance / 2).exp() * noise.like(loc)
        # -log q(z|x) of a draw is half the sum of log-variances, up to what the draw fixes
        bound = self._p[0].score(given | {self.latent: z}).nats() + log_variance.sum(-1) / 2
        (slope,) = torch.autograd.grad(bound.sum(), place, create_graph=learning)
        length = slope.square().sum(-1, keepdim=True).clamp_min(1e-24).sqrt()
        return slope * (self.clip / length).clamp(max=1.0)
