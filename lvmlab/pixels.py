"""Images as conditionals: discretised logistics, and pixels drawn one after the other.

Images are (B, C, H, W) in [0, 1], one example an event.
"""

import os
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, constraints

from lvmlab import distributions as D
from lvmlab.conditionals import _GreyBernoulli
from lvmlab.networks.autoregressive import walking

Pixels = Callable[[Tensor], Distribution]
"""Parameters (B, P, *) to independent pixels (B, C, *)."""

LOG_SCALES = (-4.5, 0.0)


def binary(parameters: Tensor) -> Distribution:
    """Pixels 0 and 1 from their logits, (B, C, *) each; grey ones score as for `Bernoulli`."""
    return _GreyBernoulli(logits=parameters, validate_args=False)


class logistic:  # noqa: N801 - used like the function `binary`
    """Pixels of `levels` grey or colour values in [0, 1] from (B, 2 C, *): locations, then scales.

    Locations go through a sigmoid; what follows is the logarithm of the scale, clipped to
    [-4.5, 0] as in the code of the VampPrior (Tomczak & Welling 2018). There the bins are open at
    both ends of the range and lose the tails; here the probabilities sum to 1.
    Raises `ValueError` for an odd number of parameters.
    """

    def __init__(self, levels: int = 256):
        self.levels = levels

    def __call__(self, parameters: Tensor) -> Distribution:
        if parameters.shape[1] % 2:
            raise ValueError(
                f"a logistic needs two numbers for each channel, got {parameters.shape[1]} for "
                "each pixel: give the network outputs=2 * channels"
            )
        loc, raw = parameters.chunk(2, 1)
        scale = raw.clamp(*LOG_SCALES).exp()
        return D.DiscretisedLogistic(loc.sigmoid(), scale, self.levels, low=0.0)


class Independently(nn.Module):
    """p(x|z) with independent pixels: the network maps the parents to parameters (B, P, H, W).

    `Independently(network, logistic(256))` for grey and colour images; for binary ones the same as
    `Bernoulli(network)`.
    """

    def __init__(self, network: Callable[..., Tensor], pixels: Pixels = binary):
        super().__init__()
        self.network, self.pixels = network, pixels

    def forward(self, *parents: Tensor) -> Distribution:
        each = self.pixels(self.network(*parents))
        return Independent(each, len(each.batch_shape) - 1, validate_args=False)


class InOrder(nn.Module):
    """p(x|z) pixel by pixel, each given z and the pixels before it.

    network: with `shape`, `context(*parents)` and `network(x, *context)` to parameters
    (B, P, H, W) that know only the pixels before, such as `networks.PixelCNN`. cached: whether
    drawing remembers what the masked convolutions saw; a network that looks back by other means
    needs `cached=False`, a whole pass for each pixel.
    """

    def __init__(self, network: Any, pixels: Pixels = binary, cached: bool = True):
        super().__init__()
        self.network, self.pixels, self.cached = network, pixels, cached

    def forward(self, *parents: Tensor) -> "PixelSequence":
        context = self.network.context(*parents)
        return PixelSequence(self.network, context, self.pixels, self.cached)


class PixelSequence(Distribution):
    """Images of which each pixel is drawn given those before it, in raster order.

    `log_prob` (B,) nats is one pass of the network; over all images of a finite set of values the
    probabilities sum to 1. `sample` is exact and takes H x W looks, with the running statistics of
    batch normalisation whatever the mode.
    """

    has_rsample = False
    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.independent(constraints.unit_interval, 3)

    def __init__(
        self, network: Any, context: tuple[Tensor, ...], pixels: Pixels, cached: bool = True
    ):
        super().__init__(context[0].shape[:1], torch.Size(network.shape), validate_args=False)
        self.network, self.context, self.pixels, self.cached = network, context, pixels, cached

    def log_prob(self, value: Tensor) -> Tensor:
        each = self.pixels(self.network(value, *self.context))
        return each.log_prob(value).flatten(1).sum(1)

    def sample(self, sample_shape: Any = (), progress: bool | None = None) -> Tensor:
        """Draw images (*sample_shape, B, C, H, W).

        progress: a bar; None shows one when it lasts longer than two seconds.
        """
        times = torch.Size(sample_shape).numel()
        context = tuple(c.repeat(times, *[1] * (c.ndim - 1)) for c in self.context)
        _, height, width = self.event_shape
        with torch.inference_mode(), walking(self.network, height, width, self.cached) as walk:
            drawn = self._drawn(walk, context, progress)
        drawn = drawn.clone()  # a tensor that may be trained on
        return drawn.unflatten(0, (*sample_shape, -1)) if tuple(sample_shape) else drawn

    def _drawn(self, walk: Any, context: tuple[Tensor, ...], progress: bool | None) -> Tensor:
        from tqdm.auto import tqdm

        channels, height, width = self.event_shape
        x = context[0].new_zeros(len(context[0]), channels, height, width)
        quiet = bool(os.environ.get("TQDM_DISABLE")) if progress is None else not progress
        places = [(row, column) for row in range(height) for column in range(width)]
        wait = 0 if progress else 2
        for walk.row, walk.column in tqdm(places, "drawing", delay=wait, disable=quiet):
            row, column = walk.row, walk.column
            here = self.network(x, *context)
            if not self.cached:
                here = here[:, :, row : row + 1, column : column + 1]
            x[:, :, row, column] = self.pixels(here).sample()[:, :, 0, 0]
        return x
