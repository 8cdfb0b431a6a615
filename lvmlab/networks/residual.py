"""The residual encoder that belongs to the residual PixelCNN."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from lvmlab.networks.gated import Pictures, check_sizes, checked_shape


class Halving(nn.Module):
    """A residual block to half the height and width, with batch normalisation and ELU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ELU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.short = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, 2, bias=False), nn.BatchNorm2d(outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(self.short(x) + self.layers(x))


def residual_trunk(
    shape: Sequence[int], width: int = 64, blocks: int = 3, features: int = 512
) -> Pictures:
    """Images (B, *shape) to (B, features): residual blocks that halve, one convolution over all.

    The encoder of Lagging-VAE for Omniglot without its dense head (He et al. 2019, code); what a
    `HybridCritic` shares. Raises `ValueError` for sizes below 1, a shape that is not (C, H, W), and
    images of another.
    """
    check_sizes(width=width, blocks=blocks, features=features)
    channels, height, across = checked_shape(shape)
    sizes = [channels, *[width] * blocks]
    for _ in range(blocks):
        height, across = -(-height // 2), -(-across // 2)
    whole = nn.Conv2d(width, features, (height, across), bias=False)
    layers = nn.Sequential(
        *(Halving(a, b) for a, b in pairwise(sizes)), whole, nn.BatchNorm2d(features), nn.ELU(),
        nn.Flatten(),
    )  # fmt: skip
    for layer in layers.modules():
        if isinstance(layer, nn.Conv2d):
            area = layer.kernel_size[0] * layer.kernel_size[1]
            nn.init.normal_(layer.weight, 0.0, (2 / (area * layer.out_channels)) ** 0.5)
    return Pictures(shape, layers)
