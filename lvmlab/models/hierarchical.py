"""Images with two layers of latents, and the VampPrior: the models of the MIM thesis, chapter 4.

    p(z2) p(z1|z2) p(x|z1,z2)   and   q(x) q(z2|x) q(z1|x,z2)

with 40 + 40 numbers in z1 and z2 for 28 x 28 pixels (Tomczak & Welling 2018, whose code the thesis
uses for images). Every encoder's log-variance is clipped to [-6, 2]: `amim` has no term of its own
that holds a scale up, so the lower end is part of the model. `amim`, `mim` and `elbo` take these
joints as they take those with one latent.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from lvmlab import distributions as D
from lvmlab.conditionals import StandardNormal, VampPrior
from lvmlab.joint import Conditional, Joint
from lvmlab.networks.autoregressive import PixelCNN
from lvmlab.networks.gated import (
    FAR,
    NEAR,
    Gated,
    Joined,
    Pictures,
    check_sizes,
    checked_shape,
    features_of,
    gated_dense,
    gated_refiner,
    gated_tower,
    heads,
)
from lvmlab.noise import generator
from lvmlab.pixels import Independently, InOrder, Pixels, binary

LOG_VARIANCES = (-6.0, 2.0)


class ClippedGaussian(nn.Module):
    """p(z|.) = N(loc, exp(v)), diagonal, with log-variances v clipped to `limits`.

    network: parents to (B, 2 D), locations and log-variances. Outside the limits no gradient
    reaches v, unlike with the floor of `conditionals.Gaussian`.
    """

    def __init__(
        self,
        network: Callable[..., Tensor],
        limits: tuple[float, float] = LOG_VARIANCES,
    ):
        super().__init__()
        self.network, self.limits = network, limits

    def forward(self, *parents: Tensor) -> Distribution:
        loc, raw = self.network(*parents).chunk(2, -1)
        scale = (raw.clamp(*self.limits) / 2).exp()
        return Independent(D.Normal(loc, scale, validate_args=False), 1, validate_args=False)


class Sizes(NamedTuple):
    """The sizes that these models share."""

    shape: tuple[int, int, int]
    latents: tuple[int, int]
    """Of z1 and z2."""
    width: int
    channels: int = 1
    limits: tuple[float, float] = LOG_VARIANCES
    """Of the encoders' log-variances."""


def conv_hvae(
    shape: Sequence[int] = (1, 28, 28),
    latents: tuple[int, int] = (40, 40),
    width: int = 300,
    channels: int = 64,
    pseudo: Tensor | None = None,
    pixels: Pixels = binary,
    parameters: int = 1,
    floor: float | None = None,
) -> tuple[Joint, Joint]:
    """convHVAE: gated convolutions on both sides, pixels independent given z1 and z2.

    pseudo: start values (K, *shape) of a VampPrior's inputs, as `pseudo_inputs` gives them; N(0, I)
    when None. pixels: what parameters mean, such as `logistic(256)`, with `parameters` of them for
    each channel. floor: the least scale of the encoders when not exp(-3). 2,210,861 parameters at
    the sizes of the thesis, pseudo-inputs aside; for small images take fewer `channels`.
    Raises `ValueError` for sizes below 1, pseudo-inputs of another shape than the images, and a
    floor that is not positive.
    """
    sizes = _checked(shape, latents, width, channels, floor)
    outputs, height, across = sizes.shape[0] * parameters, *sizes.shape[1:]
    top = nn.Sequential(
        Gated(nn.Linear, 2 * width, outputs * height * across),
        nn.Unflatten(1, (outputs, height, across)),
        gated_refiner((outputs, height, across), channels),
    )
    decoder = Independently(_both_latents(sizes, top), pixels)
    return _joints(sizes, decoder, *_conv_encoders(sizes), pseudo)


def pixel_hvae(
    shape: Sequence[int] = (1, 28, 28),
    latents: tuple[int, int] = (40, 40),
    width: int = 300,
    channels: int = 64,
    layers: int = 8,
    mask_maps: bool = True,
    pseudo: Tensor | None = None,
    pixels: Pixels = binary,
    parameters: int = 1,
    floor: float | None = None,
) -> tuple[Joint, Joint]:
    """PixelHVAE: the encoders of `conv_hvae`, and a PixelCNN that reads z1 and z2 as maps.

    layers, mask_maps: as of `networks.PixelCNN`; the other arguments and errors as of `conv_hvae`.
    1,385,821 parameters at the sizes of the thesis. Drawing takes H x W looks (`lvmlab.pixels`).
    """
    sizes = _checked(shape, latents, width, channels, floor)
    outputs = sizes.shape[0] * parameters
    network = PixelCNN(sizes.shape, sizes.latents, outputs, channels, layers, mask_maps)
    return _joints(sizes, InOrder(network, pixels), *_conv_encoders(sizes), pseudo)


def dense_hvae(
    shape: Sequence[int] = (1, 28, 28),
    latents: tuple[int, int] = (40, 40),
    width: int = 300,
    pseudo: Tensor | None = None,
    pixels: Pixels = binary,
    parameters: int = 1,
    floor: float | None = None,
) -> tuple[Joint, Joint]:
    """HVAE: the same joints with gated dense layers; 2,431,024 parameters at the usual sizes.

    Arguments and errors as of `conv_hvae`.
    """
    sizes = _checked(shape, latents, width, 1, floor)
    count, (z1, z2) = torch.Size(sizes.shape).numel(), sizes.latents
    far = nn.Sequential(nn.Flatten(), gated_dense(count, width, width), heads(width, z2))
    branches = [nn.Sequential(nn.Flatten(), gated_dense(count, width)), gated_dense(z2, width)]
    near = Joined(branches, nn.Sequential(gated_dense(2 * width, width), heads(width, z1)))
    top = nn.Sequential(gated_dense(2 * width, width), _to_image(width, sizes.shape, parameters))
    decoder = Independently(_both_latents(sizes, top), pixels)
    return _joints(sizes, decoder, Pictures(shape, far), near, pseudo)


def gated_vae(
    shape: Sequence[int] = (1, 28, 28),
    latent: int = 40,
    width: int = 300,
    pseudo: Tensor | None = None,
    pixels: Pixels = binary,
    parameters: int = 1,
    floor: float | None = None,
) -> tuple[Joint, Joint]:
    """One latent and gated dense layers: p(z) p(x|z), q(x) q(z|x); 1,116,864 parameters.

    Arguments and errors as of `conv_hvae`.
    """
    sizes = _checked(shape, (latent, latent), width, 1, floor)
    count = torch.Size(sizes.shape).numel()
    far = nn.Sequential(nn.Flatten(), gated_dense(count, width, width), heads(width, latent))
    encoder = ClippedGaussian(Pictures(shape, far), sizes.limits)
    hidden = gated_dense(latent, width, width)
    decoder = Independently(
        nn.Sequential(hidden, _to_image(width, sizes.shape, parameters)), pixels
    )
    p = Joint("p", {"z": _prior(sizes, encoder, pseudo), "x|z": decoder})
    return p, Joint("q", {"x": None, "z|x": encoder})


def pseudo_inputs(x: Tensor, number: int, noise: float = 0.01, seed: int = 0) -> Tensor:
    """Start values (number, *x) of a VampPrior: the first training images, with a little noise.

    `VampPrior` clips them to the range of the data. noise: the standard deviation.
    Raises `ValueError` for more pseudo-inputs than training images.
    """
    if not 1 <= number <= len(x):
        raise ValueError(
            f"number of pseudo-inputs must lie between 1 and the {len(x)} training images they "
            f"start from, got {number}: take fewer, or give start values of your own"
        )
    stream = generator(seed, "pseudo-inputs")
    return x[:number] + noise * torch.randn(x[:number].shape, generator=stream).to(x)


def _joints(
    sizes: Sizes, decoder: Conditional, far: nn.Module, near: nn.Module, pseudo: Tensor | None
) -> tuple[Joint, Joint]:
    (z1, z2), width = sizes.latents, sizes.width
    upper, lower = ClippedGaussian(far, sizes.limits), ClippedGaussian(near, sizes.limits)
    middle = ClippedGaussian(nn.Sequential(gated_dense(z2, width, width), heads(width, z1)))
    prior = _prior(sizes, upper, pseudo)
    p = Joint("p", {"z2": prior, "z1|z2": middle, "x|z1,z2": decoder})
    return p, Joint("q", {"x": None, "z2|x": upper, "z1|x,z2": lower})


def _conv_encoders(sizes: Sizes) -> tuple[nn.Module, nn.Module]:
    """The networks of q(z2|x) and q(z1|x,z2)."""
    (z1, z2), shape, width, channels = sizes.latents, sizes.shape, sizes.width, sizes.channels
    features = features_of(shape)
    far = nn.Sequential(gated_tower(shape, channels, FAR), heads(features, z2))
    branches = [gated_tower(shape, channels, NEAR), gated_dense(z2, features)]
    top = nn.Sequential(gated_dense(2 * features, width), heads(width, z1))
    return far, Joined(branches, top)


def _both_latents(sizes: Sizes, top: nn.Module) -> nn.Module:
    return Joined([gated_dense(dim, sizes.width) for dim in sizes.latents], top)


def _to_image(width: int, shape: Sequence[int], parameters: int) -> nn.Module:
    channels, height, across = shape
    each = (channels * parameters, height, across)
    return nn.Sequential(nn.Linear(width, torch.Size(each).numel()), nn.Unflatten(1, each))


def _prior(sizes: Sizes, encoder: nn.Module, pseudo: Tensor | None) -> Any:
    if pseudo is None:
        return StandardNormal(sizes.latents[1])
    if tuple(pseudo.shape[1:]) != sizes.shape:
        raise ValueError(
            f"pseudo must hold images (K, {', '.join(map(str, sizes.shape))}) like the data, got "
            f"{tuple(pseudo.shape)}: try pseudo_inputs(x, 500)"
        )
    return VampPrior(encoder, pseudo, (0.0, 1.0))


def _checked(
    shape: Sequence[int],
    latents: tuple[int, int],
    width: int,
    channels: int,
    floor: float | None,
) -> Sizes:
    if len(latents) != 2:
        raise ValueError(f"latents must be two sizes, those of z1 and z2, got {latents}")
    check_sizes(z1=latents[0], z2=latents[1], width=width, channels=channels)
    limits = LOG_VARIANCES
    if floor is not None:
        if not 0 < floor < math.exp(limits[1] / 2):
            raise ValueError(f"floor must be a small positive standard deviation, got {floor}")
        limits = 2 * math.log(floor), limits[1]
    return Sizes(checked_shape(shape), latents, width, channels, limits)
