"""PixelCNNs: the parameters of every pixel from the pixels before it, in raster order.

All channels of a pixel count as one place, so the channels of a colour image are independent given
the pixels before. Inside `walking(network)` the same networks go from pixel to pixel and remember
what they have seen, which is how images are drawn (`lvmlab.pixels`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lvmlab.networks.gated import Gated, check_sizes, checked_shape

KERNELS = (7,) * 5 + (5,) * 4 + (3,) * 4
"""Of the 13 layers of the PixelCNN for Omniglot (He et al. 2019)."""


class MaskedConv2d(nn.Conv2d):
    """A convolution that sees at each pixel the pixels before it, and with `here` the pixel itself.

    kernel: odd; the image keeps its size. open_inputs: so many of the last input channels are seen
    everywhere, such as maps of z. Weights that are masked stay parameters, as in the papers'
    counts. Raises `ValueError` for an even kernel.
    """

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, here: bool, open_inputs: int = 0):
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel must be an odd number from 1 up, got {kernel}: try 3")
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        middle = kernel // 2
        mask = torch.ones(1, inputs, kernel, kernel)
        mask[:, : inputs - open_inputs, middle, middle + here :] = 0
        mask[:, : inputs - open_inputs, middle + 1 :] = 0
        self.register_buffer("mask", mask, persistent=False)
        self.rows = kernel if open_inputs else middle + 1  # below these all is masked
        self.walk: Walk | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.walk is not None:
            return self.walk.convolved(self, x)
        half = self.kernel_size[0] // 2  # below the middle nothing is seen, nor multiplied
        return F.conv2d(F.pad(x, (half, half, half, self.rows - 1 - half)), self.seen_weight())

    def seen_weight(self) -> Tensor:
        """The rows of the kernel that see something, masked."""
        return self.weight[:, :, : self.rows] * self.mask[:, :, : self.rows]


class Walk:
    """Where somebody who draws pixel by pixel stands, and what each convolution saw so far.

    A convolution whose input has the size of the image sees the part of it around the pixel; any
    other is given its input at this pixel alone and remembers it.
    """

    def __init__(self, height: int, width: int):
        self.height, self.width = height, width
        self.row = self.column = 0
        self.maps: dict[int, Tensor] = {}
        self.weights: dict[int, Tensor] = {}

    def convolved(self, conv: MaskedConv2d, x: Tensor) -> Tensor:
        """The output of a convolution at this pixel, (B, outputs, 1, 1)."""
        key, side = id(conv), conv.kernel_size[0]
        half = side // 2
        if key not in self.weights:
            self.weights[key] = conv.seen_weight().flatten(1).T.contiguous()
        rows = slice(self.row, self.row + conv.rows)
        columns = slice(self.column, self.column + side)
        if x.shape[-2:] == (self.height, self.width) != (1, 1):
            patch = _cut(x, rows, columns, half)
        else:
            if key not in self.maps:
                size = (len(x), x.shape[1], self.height + 2 * half, self.width + 2 * half)
                self.maps[key] = x.new_zeros(size)
            around = self.maps[key]
            around[:, :, self.row + half, self.column + half] = x[:, :, 0, 0]
            patch = around[:, :, rows, columns]
        return (patch.flatten(1) @ self.weights[key])[:, :, None, None]


def _cut(x: Tensor, rows: slice, columns: slice, half: int) -> Tensor:
    """These rows and columns of an image with a border of `half` zeros."""
    height, width = x.shape[-2:]
    top, left = max(0, half - rows.start), max(0, half - columns.start)
    bottom, right = max(0, rows.stop - half - height), max(0, columns.stop - half - width)
    y = slice(max(0, rows.start - half), rows.stop - half)
    part = x[:, :, y, max(0, columns.start - half) : columns.stop - half]
    return F.pad(part, (left, right, top, bottom))


@contextmanager
def walking(network: nn.Module, height: int, width: int, cached: bool = True) -> Iterator[Walk]:
    """Inside, the masked convolutions of a network compute one pixel at a time, in eval mode.

    Set `row` and `column` of the walk, in raster order, and call the network with the whole image.
    `cached=False` leaves the convolutions as they are, whole images in and out.
    """
    walk = Walk(height, width)
    convs = [m for m in network.modules() if isinstance(m, MaskedConv2d) and cached]
    modes = {m: m.training for m in network.modules()}
    try:
        network.eval()
        for conv in convs:
            conv.walk = walk
        yield walk
    finally:
        for conv in convs:
            conv.walk = None
        for module, mode in modes.items():
            module.training = mode


class PixelCNN(nn.Module):
    """Images and latents to parameters of their pixels (B, outputs, H, W): PixelHVAE's decoder.

    Each latent becomes a map of the image by a gated dense layer and joins the image as a channel
    (`context`). Then `layers` masked 3 x 3 convolutions of `width` channels with batch
    normalisation and ReLU, and a 1 x 1 convolution. In the published code the mask also covers the
    maps, so that the first layer sees z only in the places before the pixel; `mask_maps=False`
    shows it all of them. outputs: the image's channels when None.
    Raises `ValueError` for sizes below 1, a shape that is not (C, H, W), and images of another.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latents: Sequence[int],
        outputs: int | None = None,
        width: int = 64,
        layers: int = 8,
        mask_maps: bool = True,
    ):
        super().__init__()
        channels, height, across = self.shape = checked_shape(shape)
        check_sizes(latents=min(latents), width=width, layers=layers)
        self.maps = nn.ModuleList(Gated(nn.Linear, dim, height * across) for dim in latents)
        inputs, opened = channels + len(latents), 0 if mask_maps else len(latents)
        parts: list[nn.Module] = []
        for i in range(layers):
            conv = MaskedConv2d(width if i else inputs, width, 3, i > 0, 0 if i else opened)
            parts += [conv, nn.BatchNorm2d(width), nn.ReLU()]
        self.layers = nn.Sequential(*parts, nn.Conv2d(width, outputs or channels, 1))

    def context(self, *latents: Tensor) -> tuple[Tensor, ...]:
        """What the pixels need to know of the latents: maps (B, latents, H, W)."""
        maps = [make(z) for make, z in zip(self.maps, latents, strict=True)]
        return (torch.stack(maps, 1).unflatten(2, self.shape[1:]),)

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        return self.layers(_stacked(x, context[0], self.shape))


class Bottleneck(nn.Module):
    """A residual block of a PixelCNN: 1 x 1 to half the channels, masked kernel, 1 x 1 back."""

    def __init__(self, width: int, kernel: int):
        super().__init__()
        half = max(1, width // 2)
        self.layers = nn.Sequential(
            nn.Conv2d(width, half, 1, bias=False), nn.BatchNorm2d(half), nn.ELU(),
            MaskedConv2d(half, half, kernel, here=True), nn.BatchNorm2d(half), nn.ELU(),
            nn.Conv2d(half, width, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(x + self.layers(x))


class ResidualPixelCNN(nn.Module):
    """Images and a latent to parameters of their pixels: the decoder of Lagging-VAE and critics.

    z (B, latent) becomes `maps` maps of the image, which the first layer, a masked convolution,
    sees everywhere; then residual bottlenecks, one for each further kernel, and a second bottleneck
    for each layer i >= 3 (and the end) that brings it the output of layer i - 3. Ends in two 1 x 1
    convolutions (the code of He et al. 2019, which the critics paper calls a 13-layer gated
    PixelCNN; it is not gated). `skip=True` is Skip-VAE's decoder: a separate linear map of z joins
    every layer, here as one number a channel (Dieng et al. 2019).
    Raises `ValueError` as `PixelCNN` does.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int,
        outputs: int | None = None,
        width: int = 64,
        kernels: Sequence[int] = KERNELS,
        maps: int = 4,
        skip: bool = False,
    ):
        super().__init__()
        channels, height, across = self.shape = checked_shape(shape)
        check_sizes(latent=latent, width=width, kernels=len(kernels), maps=maps)
        self.maps = nn.Linear(latent, maps * height * across)
        self.joins = nn.ModuleList(nn.Linear(latent, width) for _ in kernels[1:] if skip)
        first = MaskedConv2d(channels + maps, width, kernels[0], here=False, open_inputs=maps)
        self.first = nn.Sequential(first, nn.BatchNorm2d(width), nn.ELU())
        self.blocks = nn.ModuleList(Bottleneck(width, kernel) for kernel in kernels[1:])
        self.skips = nn.ModuleList(Bottleneck(width, kernel) for kernel in kernels[1:-1])
        self.last = nn.Sequential(
            nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ELU(),
            nn.Conv2d(width, outputs or channels, 1, bias=False),
        )  # fmt: skip

    def context(self, z: Tensor) -> tuple[Tensor, ...]:
        """What the pixels need to know of z: its maps, then a number a channel for each join."""
        maps = self.maps(z).unflatten(1, (-1, *self.shape[1:]))
        return maps, *(join(z)[:, :, None, None] for join in self.joins)

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        maps, *joined = context
        seen = [self.first(_stacked(x, maps, self.shape))]
        for i, block in enumerate(self.blocks):
            given = seen[i] + self.skips[i - 2](seen[i - 2]) if i >= 2 else seen[i]
            seen.append(block(given + joined[i] if joined else given))
        end = seen[-1]
        if len(self.skips):
            end = end + self.skips[-1](seen[-3])
        return self.last(end)


def _stacked(x: Tensor, maps: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Images and maps as channels of one image."""
    if tuple(x.shape[1:]) != shape:
        raise ValueError(
            f"this network takes images (B, {', '.join(map(str, shape))}), got {tuple(x.shape)}: "
            "reshape the data or give the network another shape"
        )
    # channels side by side in memory: a step on a CPU takes a fifth less time
    return torch.cat([x, maps], 1).contiguous(memory_format=torch.channels_last)
