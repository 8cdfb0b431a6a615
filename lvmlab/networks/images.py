"""Encoders and decoders for images from the VaDE/iVAE paper, appendix A."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lvmlab.networks.mlp import flatten

WIDTHS = (512, 384, 256, 256)  # Table A.2


def dense_encoder(shape: Sequence[int], outputs: int, widths: Sequence[int] = WIDTHS) -> nn.Module:
    """Images of `shape` to (B, outputs): Table A.2's encoder.

    Leaky ReLUs of slope 0.1 after every layer but the last, dropout of 0.1 after the second;
    pixels in [0, 1] are moved by -0.5, as in the paper's code.
    """
    pixels = torch.Size(shape).numel()
    return Dropped([pixels, *widths, outputs], drop_after=2, shift=-0.5)


def dense_decoder(inputs: int, shape: Sequence[int], widths: Sequence[int] = WIDTHS) -> nn.Module:
    """Vectors (B, inputs) to (B, *shape): the encoder's layers backwards, as in Table A.2."""
    pixels = torch.Size(shape).numel()
    layers = Dropped([inputs, *reversed(widths), pixels], drop_after=max(1, len(widths) - 2))
    return nn.Sequential(layers, nn.Unflatten(1, tuple(shape)))


class Dropped(nn.Module):
    """A dense network of its flattened inputs with one dropout layer.

    sizes: as of `MLP`; drop_after: hidden layers before the dropout of 0.1; shift: added to all
    inputs. Raises `ValueError` for fewer than two sizes or sizes below 1.
    """

    def __init__(self, sizes: Sequence[int], drop_after: int, shift: float = 0.0):
        super().__init__()
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"sizes must be two or more whole numbers from 1 up, got {sizes}")
        self.shift = shift
        parts: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(pairwise(sizes)):
            parts += [nn.Dropout(0.1)] if i == drop_after else []
            parts += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.1)]
        self.layers = nn.Sequential(*parts[:-1])

    def forward(self, *given: Tensor) -> Tensor:
        return self.layers(flatten(given) + self.shift)


def conv_encoder(shape: Sequence[int], outputs: int, width: int = 8) -> nn.Module:
    """Images (C, H, W) to (B, outputs): Table A.3's encoder, from `width` to 8 x `width` channels.

    Two times two 3 x 3 convolutions and a pooling by 2, one convolution over all that is left, and
    two dense layers. Batch normalisation and ELU. Raises `ValueError` for a height or width that 4
    does not divide.
    """
    channels, height, across = _quartered(shape)
    sizes = [channels, width, 2 * width, 4 * width, 8 * width]
    parts: list[nn.Module] = [Shift(-0.5)]
    for i, (inputs, out) in enumerate(pairwise(sizes)):
        parts += [nn.Conv2d(inputs, out, 3, padding=1), nn.BatchNorm2d(out), nn.ELU()]
        parts += [nn.MaxPool2d(2)] if i % 2 else []
    most = sizes[-1]
    parts += [nn.Conv2d(most, most, (height // 4, across // 4)), nn.Flatten()]
    return nn.Sequential(*parts, nn.Linear(most, most), nn.LeakyReLU(0.1), nn.Linear(most, outputs))


def conv_decoder(inputs: int, shape: Sequence[int], width: int = 8) -> nn.Module:
    """Vectors (B, inputs) to (B, C, H, W): Table A.3's decoder, 8 x `width` channels first.

    Raises `ValueError` as `conv_encoder` does.
    """
    channels, height, across = _quartered(shape)
    most = 8 * width
    parts: list[nn.Module] = [nn.Linear(inputs, most), nn.LeakyReLU(0.1)]
    parts += [nn.Linear(most, most), nn.Unflatten(1, (most, 1, 1))]
    layers = [
        nn.ConvTranspose2d(most, most, (height // 4, across // 4)),
        nn.ConvTranspose2d(most, 4 * width, 4, 2, 1),
        nn.ConvTranspose2d(4 * width, 2 * width, 3, 1, 1),
        nn.ConvTranspose2d(2 * width, width, 4, 2, 1),
    ]
    for layer in layers:
        parts += [layer, nn.BatchNorm2d(layer.out_channels), nn.ELU()]
    return nn.Sequential(*parts, nn.Conv2d(width, channels, 3, padding=1))


class Shift(nn.Module):
    """Adds a number to its input."""

    def __init__(self, by: float):
        super().__init__()
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        return x + self.by


class Down(nn.Module):
    """A residual block to half the height and width, weight-normalised (Table A.4)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.first = norm(nn.Conv2d(inputs, inputs, 3, padding=1))
        self.second = norm(nn.Conv2d(inputs, outputs, 3, 2, 1))
        self.short = norm(nn.Conv2d(inputs, outputs, 3, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.short(x) + self.second(F.relu(self.first(F.relu(x))))


class Up(nn.Module):
    """A residual block to twice the height and width, weight-normalised (Table A.4)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.first = norm(nn.Conv2d(inputs, inputs, 3, padding=1))
        self.second = norm(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1))
        self.short = norm(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.short(x) + self.second(F.relu(self.first(F.relu(x))))


def residual_encoder(shape: Sequence[int], outputs: int, width: int = 16) -> nn.Module:
    """Images (C, H, W) to (B, outputs): Table A.4's encoder, five blocks that halve the image.

    Images whose sides 32 does not divide are padded with zeros on the right and below, 28 to 32
    pixels, which the paper does not tell. `width` channels first, 32 x `width` at the end.
    """
    channels, height, across = shape
    pad = (0, -across % 32, 0, -height % 32)
    sizes = [width * 2**i for i in range(6)]
    blocks = [Down(a, b) for a, b in pairwise(sizes)]
    left = sizes[-1] * ((height + pad[3]) // 32) * ((across + pad[1]) // 32)
    return nn.Sequential(
        Shift(-0.5), nn.ZeroPad2d(pad), nn.Conv2d(channels, width, 1), *blocks, nn.ReLU(),
        nn.Flatten(), nn.Linear(left, outputs),
    )  # fmt: skip


def residual_decoder(inputs: int, shape: Sequence[int], width: int = 16) -> nn.Module:
    """Vectors (B, inputs) to (B, C, H, W): Table A.4's decoder, cropped to its shape."""
    channels, height, across = shape
    rows, columns = -(-height // 32), -(-across // 32)
    sizes = [width * 2**i for i in (5, 4, 3, 2, 1, 0)]
    blocks = [Up(a, b) for a, b in pairwise(sizes)]
    return nn.Sequential(
        nn.Linear(inputs, sizes[0] * rows * columns), nn.Unflatten(1, (sizes[0], rows, columns)),
        *blocks, nn.ReLU(), nn.Conv2d(width, channels, 1), Cropped(height, across),
    )  # fmt: skip


class Cropped(nn.Module):
    """The upper left `height` x `width` pixels."""

    def __init__(self, height: int, width: int):
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        return x[..., : self.height, : self.width]


def grid_encoder(shape: Sequence[int], outputs: int, width: int = 32) -> nn.Module:
    """Images (C, H, W) to places (B, H/4 * W/4, outputs), each seeing a part of the image.

    Raises `ValueError` as `conv_encoder` does.
    """
    channels, _, _ = _quartered(shape)
    return nn.Sequential(
        Shift(-0.5), nn.Conv2d(channels, width, 4, 2, 1), nn.ELU(),
        nn.Conv2d(width, width, 4, 2, 1), nn.ELU(), nn.Conv2d(width, outputs, 1),
        nn.Flatten(2), Swapped(),
    )  # fmt: skip


def grid_decoder(inputs: int, shape: Sequence[int], width: int = 32) -> nn.Module:
    """Places (B, H/4 * W/4, inputs) to images (B, C, H, W): `grid_encoder` backwards."""
    channels, height, across = _quartered(shape)
    return nn.Sequential(
        Swapped(), nn.Unflatten(2, (height // 4, across // 4)), nn.Conv2d(inputs, width, 1),
        nn.ELU(), nn.ConvTranspose2d(width, width, 4, 2, 1), nn.ELU(),
        nn.ConvTranspose2d(width, channels, 4, 2, 1),
    )  # fmt: skip


class Swapped(nn.Module):
    """The last two axes changed over."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


def _quartered(shape: Sequence[int]) -> tuple[int, int, int]:
    channels, height, across = shape
    if height % 4 or across % 4 or min(height, across) < 4:
        raise ValueError(f"shape must be (C, H, W) with H and W divided by 4, got {tuple(shape)}")
    return channels, height, across
