"""Autoregressive maps of vectors: every dimension answers to those before it."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lvmlab.flows.bijections import Bijection


def gentle(raw: Tensor) -> Tensor:
    """Log scales between -3 and 3, equal to raw ones near 0: a factor of 20 a layer at most."""
    return 3 * torch.tanh(raw / 3)


class Autoregressive(Bijection):
    """y_i = (x_i + shift_i) * scale_i, where shift_i and scale_i answer to x_1 ... x_(i-1).

    x: (B, dim). One masked network gives all shifts and raw scales at once, so `forward` is one
    pass and `inverse` is `dim` of them (Germain et al. 2015; Papamakarios et al. 2017). hidden: the
    widths of its layers, with leaky ReLUs of slope 0.1 between them; `log_scale` maps raw scales to
    log scales. The last layer is zero at first: the map starts as the identity. Put a `Shuffle`
    between two of them. Raises `ValueError` for sizes below 1.
    """

    def __init__(
        self,
        dim: int,
        hidden: Sequence[int] = (50,),
        log_scale: Callable[[Tensor], Tensor] = gentle,
    ):
        super().__init__()
        if min(dim, *hidden) < 1 or not hidden:
            raise ValueError(f"dim and hidden must be 1 or more, got {dim} and {tuple(hidden)}")
        self.dim, self.log_scale = dim, log_scale
        # a unit of degree m sees x_1 ... x_m; output i may see those of degree below i alone
        degrees = [torch.arange(1, dim + 1)]
        degrees += [torch.arange(width) % max(dim - 1, 1) + 1 for width in hidden]
        masks = [after[:, None] >= before for before, after in pairwise(degrees)]
        last = (degrees[0][:, None] > degrees[-1]).repeat(2, 1)
        self.layers = nn.ModuleList(Masked(mask) for mask in [*masks, last])
        for value in self.layers[-1].parameters():
            nn.init.zeros_(value)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise ValueError(f"this Autoregressive takes (B, {self.dim}), got {tuple(x.shape)}")
        shift, log_scale = self._asked(x)
        return (x + shift) * log_scale.exp(), log_scale.sum(1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        x = torch.zeros_like(y)
        for i in range(self.dim):
            shift, log_scale = self._asked(x)
            found = y[:, i] * (-log_scale[:, i]).exp() - shift[:, i]
            x = torch.cat([x[:, :i], found[:, None], x[:, i + 1 :]], 1)
        return x

    def _asked(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), 0.1)
        shift, raw = self.layers[-1](x).chunk(2, 1)
        return shift, self.log_scale(raw)


class Masked(nn.Linear):
    """A linear layer some of whose weights are held at zero; mask: (outputs, inputs)."""

    mask: Tensor

    def __init__(self, mask: Tensor):
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.to(self.weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)
