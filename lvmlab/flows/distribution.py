"""Distributions that flows make, and the way from pixels to real numbers and back."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from lvmlab.conditionals import StandardNormal
from lvmlab.flows.bijections import Bijection


class FlowDistribution(Distribution):
    """The density of x whose image under a bijection is distributed as `base`.

    log p(x) = log base(y) + log|det dy/dx|, y = bijection(x, context), in nats
    (`flow-change-of-variables`). base: over the bijection's outputs, with batch shape () or (B,);
    event_shape: of one x; context: (B, ...), one for each distribution of the batch, or None for a
    single one. `log_prob` is one pass over all values, however they are shaped. Draws carry a
    gradient when those of the base do; `temperature` multiplies the draws of the base, which is
    meant for one centred at 0 (Kingma and Dhariwal 2018, section 6).
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(
        self,
        bijection: Bijection,
        base: Distribution,
        event_shape: Sequence[int],
        context: Tensor | None = None,
    ):
        self.bijection, self.base, self.context = bijection, base, context
        batch = base.batch_shape if context is None else torch.Size([len(context)])
        super().__init__(batch, torch.Size(event_shape), validate_args=False)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        return self.base.has_rsample

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.real, len(self.event_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        lead = value.shape[: value.ndim - len(self.event_shape)]
        y, log_det = self.bijection(value.reshape(-1, *self.event_shape), self._contexts(lead))
        return self.base.log_prob(y.reshape(*lead, *y.shape[1:])) + log_det.reshape(lead)

    def rsample(self, sample_shape: Any = (), temperature: float = 1.0) -> Tensor:
        return self._carried(self.base.rsample, sample_shape, temperature)

    def sample(self, sample_shape: Any = (), temperature: float = 1.0) -> Tensor:
        with torch.no_grad():
            return self._carried(self.base.sample, sample_shape, temperature)

    def _carried(self, draw: Any, sample_shape: Any, temperature: float) -> Tensor:
        lead = torch.Size([*sample_shape, *self.batch_shape])
        alone = lead if not self.base.batch_shape else torch.Size(sample_shape)
        y = temperature * draw(alone)
        x = self.bijection.inverse(y.reshape(-1, *self.base.event_shape), self._contexts(lead))
        return x.reshape(*lead, *self.event_shape)

    def _contexts(self, lead: torch.Size) -> Tensor | None:
        if self.context is None:
            return None
        trailing = self.context.shape[1:]
        return self.context.expand(*lead, *trailing).reshape(-1, *trailing)


class Flow(nn.Module):
    """p(x) or p(x|context): a bijection and a base as a conditional of a joint.

    `Flow(glow((1, 8, 8), embed=partial(nn.Embedding, 10)), (1, 8, 8))` is p(x|z) for ten
    categories: call it with z (B,) long. shape: of one x. base: a conditional without parents over
    what the bijection gives; N(0, I) over vectors of as many numbers when None.
    """

    def __init__(self, bijection: Bijection, shape: Sequence[int], base: nn.Module | None = None):
        super().__init__()
        self.bijection, self.shape = bijection, tuple(shape)
        self.base = StandardNormal(math.prod(self.shape)) if base is None else base

    def forward(self, context: Tensor | None = None) -> FlowDistribution:
        return FlowDistribution(self.bijection, self.base(), self.shape, context)


class Logit(Bijection):
    """y = log s - log(1 - s), s = margin + (1 - 2 margin) x: from the unit cube to all numbers.

    For pixels, as the first part of a flow: black ones fill an interval of a 256th, which the other
    parts would have to stretch (Dinh et al. 2017, section 4.1; Papamakarios et al. 2017 take a
    margin of 1e-6 for MNIST and 0.05 for CIFAR-10). x (B, ...) between 0 and 1. Raises `ValueError`
    for a margin that is not between 0 and 1/2.
    """

    def __init__(self, margin: float = 1e-6):
        super().__init__()
        if not 0 < margin < 0.5:
            raise ValueError(f"margin must lie between 0 and 1/2, got {margin}: try 1e-6")
        self.margin = margin

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        s = self.margin + (1 - 2 * self.margin) * x
        log_s, log_rest = s.log(), (-s).log1p()
        slope = math.log(1 - 2 * self.margin) - log_s - log_rest
        return log_s - log_rest, slope.flatten(1).sum(1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        return (y.sigmoid() - self.margin) / (1 - 2 * self.margin)


def dequantise(x: Tensor, levels: int, generator: torch.Generator | None = None) -> Tensor:
    """Pixels 0, 1/(levels - 1), ..., 1 as real numbers in (0, 1): whole number plus noise.

    y = (v + u) / levels with v = (levels - 1) x and u uniform in [0, 1). A density of y bounds the
    probability of the pixels from below, E log p(y) - D log(levels) <= log P(v) (Theis et al. 2016;
    `dequantisation-bound`), so bits per dimension are `bits_per_dim(-log p(y), D, bins=levels)`.
    Do it once a batch, before p is asked: then every latent is scored at the very same y and
    p(z|y) is exact. `distributions.Dequantised` draws its noise anew for each latent, which blurs
    comparisons between them. levels: 256 for 8-bit images, 17 for the digits; generator: on the
    CPU. Raises `ValueError` for pixels that are no such fractions.
    """
    if levels < 2:
        raise ValueError(f"levels must be 2 or more, got {levels}: 256 for 8-bit images")
    whole = (x * (levels - 1)).round()
    off = (whole / (levels - 1) - x).abs().max()
    if off > 1e-4 or x.min() < 0 or x.max() > 1:
        raise ValueError(
            f"x must hold pixels v / {levels - 1}, v = 0 ... {levels - 1}, but runs from "
            f"{x.min().item():.4g} to {x.max().item():.4g}, up to {off.item():.2g} beside such a "
            "value: choose levels to fit the data, such as 256 for 8-bit images and 17 for digits"
        )
    noise = torch.rand(x.shape, generator=generator, dtype=x.dtype).to(x.device)
    return (whole + noise) / levels


def quantise(y: Tensor, levels: int) -> Tensor:
    """Real numbers, such as draws, as the pixels 0 ... 1 they stand for: `dequantise` undone."""
    return (y * levels).floor().clamp(0, levels - 1) / (levels - 1)
