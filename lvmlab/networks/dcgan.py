"""Strided convolutions down and up: the encoder and decoder of DCGAN (Radford et al. 2015)."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class Shrink(nn.Module):
    """Images (B, C, H, W) to (B, outputs): strided convolutions, then one dense layer.

    Each of `widths` is a convolution to so many channels that halves height and width, with batch
    normalisation and ReLU. The GM-WAE paper has 3 layers, the largest of 64 (section 3; we read
    16, 32, 64). Raises `ValueError` for sizes below 1 and an even `kernel`.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        widths: Sequence[int] = (16, 32, 64),
        kernel: int = 5,
    ):
        super().__init__()
        _check(shape, widths, kernel, outputs)
        channels, *sides = shape
        layers: list[nn.Module] = []
        for inputs, width in pairwise([channels, *widths]):
            halve = nn.Conv2d(inputs, width, kernel, stride=2, padding=kernel // 2, bias=False)
            layers += [halve, nn.BatchNorm2d(width), nn.ReLU()]
        area = math.prod(_sides(sides, len(widths))[-1])
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * area, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Grow(nn.Module):
    """Codes (B, inputs) to images (B, C, H, W): one dense layer, then transposed convolutions.

    The dense layer fills `widths[0]` channels; each further width is a transposed convolution that
    doubles height and width, all with batch normalisation and ReLU; a 1 x 1 convolution comes last.
    The GM-WAE paper has 3 layers, the smallest of 128 (section 3; we read 512, 256, 128). coarse:
    the dtype in which layers multiply, such as torch.bfloat16; weights and results stay as they
    are. Raises `ValueError` for sizes below 1 and an even `kernel`.
    """

    def __init__(
        self,
        inputs: int,
        shape: Sequence[int],
        widths: Sequence[int] = (512, 256, 128),
        kernel: int = 5,
        coarse: torch.dtype | None = None,
    ):
        super().__init__()
        _check(shape, widths, kernel, inputs)
        self.coarse = coarse
        channels, *sides = shape
        *larger, start = _sides(sides, len(widths) - 1)
        first = nn.Linear(inputs, widths[0] * math.prod(start))  # its bias is a place's own
        layers: list[nn.Module] = [first, nn.Unflatten(1, (widths[0], *start))]
        layers += [_ChannelsLast(), nn.BatchNorm2d(widths[0]), nn.ReLU()]
        before = start
        for (wide, width), after in zip(pairwise(widths), reversed(larger), strict=True):
            odd = [big - (2 * small - 1) for small, big in zip(before, after, strict=True)]
            double = nn.ConvTranspose2d(
                wide, width, kernel, 2, kernel // 2, (odd[0], odd[1]), bias=False
            )
            layers += [double, nn.BatchNorm2d(width), nn.ReLU()]
            before = after
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], channels, 1))

    def forward(self, z: Tensor) -> Tensor:
        if self.coarse is None:
            return self.layers(z)
        with torch.autocast(z.device.type, self.coarse):
            return self.layers(z).to(z.dtype)


class _ChannelsLast(nn.Module):
    """The same numbers in the order in which a processor's convolutions are fast."""

    def forward(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last)


def _sides(sides: Sequence[int], halvings: int) -> list[tuple[int, ...]]:
    """Heights and widths from the image down: halves, rounded up."""
    found = [tuple(sides)]
    for _ in range(halvings):
        found.append(tuple((side + 1) // 2 for side in found[-1]))
    return found


def _check(shape: Sequence[int], widths: Sequence[int], kernel: int, numbers: int) -> None:
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"shape must be (channels, height, width) from 1 up, got {tuple(shape)}")
    if not widths or min(widths) < 1 or numbers < 1:
        raise ValueError(f"widths and numbers must be 1 or more, got {tuple(widths)}, {numbers}")
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"kernel must be an odd number from 1 up, got {kernel}: try 5")
