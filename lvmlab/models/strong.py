"""VAEs whose decoder is strong enough to do without z: those of Lagging-VAE and the critics paper.

A residual encoder and a PixelCNN of 13 layers for 28 x 28 pixels; smaller ones of the same form
have fewer and smaller `kernels`.
"""

from collections.abc import Sequence

from torch import nn

from lvmlab.conditionals import StandardNormal
from lvmlab.joint import Joint
from lvmlab.models.hierarchical import ClippedGaussian
from lvmlab.networks.autoregressive import KERNELS, ResidualPixelCNN
from lvmlab.networks.residual import residual_trunk
from lvmlab.pixels import InOrder, Pixels, binary

LOG_VARIANCES = (-10.0, 10.0)  # none are printed; these are never met in practice


def strong_vae(
    shape: Sequence[int] = (1, 28, 28),
    latent: int = 32,
    width: int = 64,
    kernels: Sequence[int] = KERNELS,
    maps: int = 4,
    blocks: int = 3,
    features: int = 512,
    skip: bool = False,
    pixels: Pixels = binary,
    parameters: int = 1,
) -> tuple[Joint, Joint]:
    """p(z) p(x|z) and q(x) q(z|x) with `ResidualPixelCNN` and `residual_trunk`, p(z) = N(0, I).

    `q.factors["z|x"].network` is the trunk and then one dense layer, so that
    `q.factors["z|x"].network[0]` is what a hybrid critic shares. skip: Skip-VAE's decoder. pixels,
    parameters: as of `conv_hvae`. 752,448 and 894,400 parameters at the sizes of the papers.
    Raises `ValueError` for sizes below 1 and a shape that is not (C, H, W).
    """
    outputs = shape[0] * parameters
    decoder = ResidualPixelCNN(shape, latent, outputs, width, kernels, maps, skip)
    trunk = residual_trunk(shape, width, blocks, features)
    encoder = nn.Sequential(trunk, nn.Linear(features, 2 * latent))
    p = Joint("p", {"z": StandardNormal(latent), "x|z": InOrder(decoder, pixels)})
    return p, Joint("q", {"x": None, "z|x": ClippedGaussian(encoder, LOG_VARIANCES)})
