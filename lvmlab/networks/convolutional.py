"""Convolutional networks for images."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ResNet(nn.Module):
    """A residual network from image to image of the same height and width.

    `ResNet(2, 4, 96)` maps (B, 2, H, W) to (B, 4, H, W): a 3 x 3 convolution to `hidden` channels,
    `blocks` residual blocks (3 x 3, then 1 x 1), and a 3 x 3 convolution out. embed: called with
    `hidden`, gives a module that maps a context (B, ...) to (B, hidden), which is added to the
    first hidden map everywhere: `partial(nn.Embedding, 10)` for ten categories,
    `partial(nn.Linear, 5)` for five numbers. The couplings of CoLLike's flow have 3 blocks and 96
    channels (Figure 2; how z enters is not printed).
    Raises `ValueError` for sizes below 1, and for a context without `embed` or the other way round.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: int,
        blocks: int = 3,
        embed: Callable[[int], nn.Module] | None = None,
    ):
        super().__init__()
        sizes = {"inputs": inputs, "outputs": outputs, "hidden": hidden, "blocks": blocks}
        if bad := {name: size for name, size in sizes.items() if size < 1}:
            raise ValueError(f"sizes must be whole numbers from 1 up, got {bad}")
        self.inputs = inputs
        self.embed = embed(hidden) if embed is not None else None
        self.first = nn.Conv2d(inputs, hidden, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(), nn.Conv2d(hidden, hidden, 3, padding=1), nn.ReLU(),
                nn.Conv2d(hidden, hidden, 1),
            )
            for _ in range(blocks)
        )  # fmt: skip
        self.last = nn.Conv2d(hidden, outputs, 3, padding=1)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if x.ndim != 4 or x.shape[1] != self.inputs:
            raise ValueError(
                f"this ResNet takes images (B, {self.inputs}, H, W), got {tuple(x.shape)}"
            )
        if (context is None) != (self.embed is None):
            raise ValueError(
                "this ResNet has no embed, but got a context: give embed=partial(nn.Embedding, K)"
                if self.embed is None
                else "this ResNet has an embed, but got no context: call it with (x, context)"
            )
        # channels side by side in memory: on a CPU up to twice as fast from 14 x 14 pixels on
        hidden = self.first(x.contiguous(memory_format=torch.channels_last))
        if self.embed is not None and context is not None:
            hidden = hidden + self.embed(context)[:, :, None, None]
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.last(F.relu(hidden))
