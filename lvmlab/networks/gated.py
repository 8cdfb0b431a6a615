"""Gated layers and the networks of the VampPrior family, which the MIM thesis uses for images."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from lvmlab.networks.mlp import flatten

FAR, NEAR = (7, 3, 5, 3, 3), (3, 3, 3, 3, 3)
"""Kernels of the five gated convolutions for z2, and of those for z1; every second one halves."""
FEATURES = 6  # channels of the last one


class Gated(nn.Module):
    """A layer times the sigmoid of a second one of the same shape: h(x) * sigmoid(g(x)).

    `Gated(nn.Linear, 784, 300)` makes both; the weights of dense layers start as N(0, 2 / inputs)
    (Tomczak & Welling 2018).
    """

    def __init__(self, layer: type[nn.Module], *sizes: int, **more: int):
        super().__init__()
        self.value, self.gate = layer(*sizes, **more), layer(*sizes, **more)
        _start(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.value(x) * torch.sigmoid(self.gate(x))


def gated_dense(*sizes: int) -> nn.Sequential:
    """Gated dense layers, `gated_dense(784, 300, 300)` two of them.

    Raises `ValueError` for fewer than two sizes or sizes below 1.
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"sizes must be two or more whole numbers from 1 up, got {sizes}")
    return nn.Sequential(*(Gated(nn.Linear, a, b) for a, b in pairwise(sizes)))


class Pictures(nn.Module):
    """A network that checks that it is given images (B, *shape) before it looks at them."""

    def __init__(self, shape: Sequence[int], layers: nn.Module):
        super().__init__()
        self.shape, self.layers = tuple(shape), layers

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(
                f"this network takes images (B, {', '.join(map(str, self.shape))}), got "
                f"{tuple(x.shape)}: reshape the data or give the network another shape"
            )
        return self.layers(x.contiguous(memory_format=torch.channels_last))


def gated_tower(shape: Sequence[int], channels: int = 64, kernels: Sequence[int] = FAR) -> Pictures:
    """Images (B, *shape) to (B, `features_of(shape)`) by five gated convolutions.

    Of channels / 2, channels / 2, channels, channels and 6 channels; the second and the fourth
    halve height and width, 28 x 28 to 6 x 7 x 7 numbers. Raises `ValueError` for a shape that is
    not (C, H, W).
    """
    half = max(1, channels // 2)
    widths = [checked_shape(shape)[0], half, half, channels, channels, FEATURES]
    parts = [
        Gated(nn.Conv2d, a, b, kernel, stride=1 + i % 2, padding=kernel // 2)
        for i, ((a, b), kernel) in enumerate(zip(pairwise(widths), kernels, strict=True))
    ]
    return Pictures(shape, nn.Sequential(*parts, nn.Flatten()))


def features_of(shape: Sequence[int]) -> int:
    """How many numbers `gated_tower` makes of an image."""
    _, height, width = checked_shape(shape)
    return FEATURES * -(-height // 4) * -(-width // 4)


class Joined(nn.Module):
    """One network for each input, their outputs side by side, and a network on top."""

    def __init__(self, branches: Sequence[nn.Module], top: nn.Module):
        super().__init__()
        self.branches, self.top = nn.ModuleList(branches), top

    def forward(self, *given: Tensor) -> Tensor:
        parts = [branch(x) for branch, x in zip(self.branches, given, strict=True)]
        return self.top(flatten(parts))


def heads(inputs: int, outputs: int) -> nn.Linear:
    """Two dense heads in one layer: (B, inputs) to (B, 2 outputs)."""
    layer = nn.Linear(inputs, 2 * outputs)
    _start(layer)
    return layer


def gated_refiner(shape: Sequence[int], width: int = 64, layers: int = 4) -> nn.Sequential:
    """Images (B, C, H, W) to the like: gated 3 x 3 convolutions, then a 1 x 1 convolution."""
    channels = shape[0]
    sizes = [channels, *[width] * layers]
    convs = [Gated(nn.Conv2d, a, b, 3, padding=1) for a, b in pairwise(sizes)]
    return nn.Sequential(*convs, nn.Conv2d(width, channels, 1))


def checked_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """(C, H, W), or `ValueError`."""
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"shape must be (channels, height, width) from 1 up, got {tuple(shape)}")
    channels, height, width = shape
    return channels, height, width


def check_sizes(**sizes: int) -> None:
    """Raise `ValueError` for a size below 1."""
    if bad := {name: size for name, size in sizes.items() if size < 1}:
        raise ValueError(f"sizes must be whole numbers from 1 up, got {bad}")


def _start(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2 / layer.in_features))
