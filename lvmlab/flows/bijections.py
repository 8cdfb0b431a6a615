"""Invertible maps with their log-determinants: the parts of flows.

One convention for all: `forward` goes from data towards noise, the direction in which densities are
scored, and `inverse` from noise to data. Axis 1 holds the channels, so that most parts take images
(B, C, H, W) and vectors (B, D) alike.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Bijection(nn.Module):
    """An invertible map of x, which a context such as a latent may choose.

    `forward(x, context)` gives y and log|det dy/dx| (B,) in nats; `inverse(y, context)` gives x,
    whose log-determinant is minus that of forward at x. context: (B, ...) or None; parts that do
    not ask for one ignore it.
    """

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """The x that `forward` maps to y."""
        raise NotImplementedError


class Chain(Bijection):
    """Bijections one after the other: forward in the order given, inverse backwards."""

    def __init__(self, *parts: Bijection):
        super().__init__()
        if not parts:
            raise ValueError("a Chain needs one bijection or more, got none")
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = torch.zeros(len(x), dtype=x.dtype, device=x.device)
        for part in self.parts:
            x, log_det = part(x, context)
            total = total + log_det
        return x, total

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        for part in reversed(self.parts):
            y = part.inverse(y, context)  # type: ignore[operator]
        return y


class ActNorm(Bijection):
    """y = (x + shift) * scale, channel by channel; the first batch makes y standardised.

    The first call in training mode sets shift and scale so that every channel of y has mean 0 and
    standard deviation 1 over that batch; from then on both are parameters. A channel that is
    constant there, such as any of a single row (1, C), is shifted only: its scale is 1. Whether
    that has happened is a buffer: a checkpoint keeps it, and a resumed run starts no second time.
    Before it, in eval mode, the map is the identity (Kingma and Dhariwal 2018, section 3.1).
    """

    started: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.channels = _count("channels", channels, 1)
        self.shift = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.register_buffer("started", torch.tensor(False))
        self._asked = False  # so that an accelerator is asked for the buffer once, not every step

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        _check_channels(self, x, self.channels)
        if self.training and not self._asked:
            if not self.started:
                self._start(x)
            self._asked = True
        y = (x + _channelwise(self.shift, x)) * _channelwise(self.log_scale, x).exp()
        return y, (self.log_scale.sum() * x[0, 0].numel()).expand(len(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        _check_channels(self, y, self.channels)
        return y * (-_channelwise(self.log_scale, y)).exp() - _channelwise(self.shift, y)

    @torch.no_grad()
    def _start(self, x: Tensor) -> None:
        rows = x.transpose(0, 1).flatten(1)
        self.shift.copy_(-rows.mean(1))
        spread = rows.std(1, correction=0).clamp_min(1e-6)
        constant = rows.amax(1) == rows.amin(1)  # exactly, where a standard deviation is rounded
        self.log_scale.copy_(-spread.masked_fill(constant, 1.0).log())
        self.started.fill_(True)

    def _load_from_state_dict(self, *given) -> None:
        super()._load_from_state_dict(*given)
        self._asked = False


class Invertible1x1(Bijection):
    """A learned C x C matrix that mixes the channels, W = P L (U + diag(s)), a rotation first.

    L and U are triangular with ones and zeros on the diagonal, P is a fixed permutation; the
    log-determinant is H W sum log|s|, and neither s = 0 nor a change of sign can be reached
    (Kingma and Dhariwal 2018, section 3.2; `affine-coupling-logdet`). The start is drawn with
    torch's generator.
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.channels = _count("channels", channels, 1)
        rotation = torch.linalg.qr(torch.randn(channels, channels))[0]
        permutation, lower, upper = torch.linalg.lu(rotation)
        diagonal = upper.diagonal()
        self.register_buffer("permutation", permutation)
        self.register_buffer("sign", diagonal.sign())
        self.lower, self.upper = nn.Parameter(lower.tril(-1)), nn.Parameter(upper.triu(1))
        self.log_scale = nn.Parameter(diagonal.abs().log())

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        _check_channels(self, x, self.channels)
        lower, upper = self._triangles()
        matrix = self.permutation @ lower @ upper
        mixed = matrix @ x.reshape(len(x), self.channels, -1)
        return mixed.view_as(x), (self.log_scale.sum() * x[0, 0].numel()).expand(len(x))

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        _check_channels(self, y, self.channels)
        lower, upper = self._triangles()
        half = torch.linalg.solve_triangular(lower, self.permutation.T, upper=False)
        back = torch.linalg.solve_triangular(upper, half, upper=True)
        return (back @ y.reshape(len(y), self.channels, -1)).view_as(y)

    def _triangles(self) -> tuple[Tensor, Tensor]:
        lower = self.lower.tril(-1) + torch.eye(self.channels).to(self.lower)
        return lower, self.upper.triu(1) + torch.diag(self.sign * self.log_scale.exp())


class Shuffle(Bijection):
    """A fixed random order of the channels, in place of a learned mixing; log-determinant 0."""

    order: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("order", torch.randperm(_count("channels", channels, 1)))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        _check_channels(self, x, len(self.order))
        return x[:, self.order], _no_change(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        _check_channels(self, y, len(self.order))
        return y[:, self.order.argsort()]


def bounded(raw: Tensor) -> Tensor:
    """Log of sigmoid(raw + 2): scales below 1, near 0.88 at the start, as Glow's published code."""
    return F.logsigmoid(raw + 2)


class AffineCoupling(Bijection):
    """y2 = (x2 + shift) * scale, where shift and scale answer to x1 and the context.

    The channels are halved into x1, x2 (x1 has one more when odd) and x1 stays. network: called
    with x1, and with the context when there is one, gives 2 channels for each of x2, shifts then
    raw scales; `log_scale` maps raw scales to log scales. The last linear or convolutional layer of
    a module is set to zero here, so that the map starts as a fixed scaling (Dinh et al. 2017;
    Kingma and Dhariwal 2018, section 3.3). Raises `ValueError` for fewer than 2 channels and for a
    network whose answer has another shape.
    """

    def __init__(
        self,
        network: Callable[..., Tensor],
        log_scale: Callable[[Tensor], Tensor] = bounded,
    ):
        super().__init__()
        self.network, self.log_scale = network, log_scale
        if isinstance(network, nn.Module):
            _zero_last(network)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x1, x2, shift, log_scale = self._asked(x, context)
        y = torch.cat([x1, (x2 + shift) * log_scale.exp()], 1)
        return y, log_scale.flatten(1).sum(1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        y1, y2, shift, log_scale = self._asked(y, context)
        return torch.cat([y1, y2 * (-log_scale).exp() - shift], 1)

    def _asked(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if x.ndim < 2 or x.shape[1] < 2:
            raise ValueError(
                "AffineCoupling needs (B, C, ...) with 2 channels or more, to change one half "
                f"given the other, got shape {tuple(x.shape)}: squeeze an image first"
            )
        moved = x.shape[1] // 2
        x1, x2 = x.split([x.shape[1] - moved, moved], 1)
        answer = self.network(x1) if context is None else self.network(x1, context)
        expected = (len(x), 2 * moved, *x.shape[2:])
        if answer.shape != expected:
            raise ValueError(
                f"the network of this AffineCoupling must give {expected}, shifts and raw scales "
                f"for {moved} of {x.shape[1]} channels, got {tuple(answer.shape)}"
            )
        shift, raw = answer.to(x.dtype).chunk(2, 1)  # a network may run in a lower precision
        return x1, x2, shift, self.log_scale(raw)


class Squeeze(Bijection):
    """Each 2 x 2 block of pixels becomes 4 channels: (B, C, H, W) to (B, 4 C, H/2, W/2).

    Log-determinant 0. Raises `ValueError` for an odd height or width, with what to try.
    """

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if x.ndim != 4 or x.shape[2] % 2 or x.shape[3] % 2:
            raise ValueError(
                f"Squeeze takes images (B, C, H, W) of even height and width, got "
                f"{tuple(x.shape)}: use fewer scales, or pad the images"
            )
        return F.pixel_unshuffle(x, 2), _no_change(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        return F.pixel_shuffle(y, 2)


class Flatten(Bijection):
    """Examples of `shape` as vectors, (B, *shape) to (B, D); log-determinant 0."""

    def __init__(self, shape: Sequence[int]):
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if x.shape[1:] != self.shape:
            raise ValueError(f"Flatten takes (B, *{self.shape}), got {tuple(x.shape)}")
        return x.flatten(1), _no_change(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        return y.unflatten(1, self.shape)


class Split(Bijection):
    """A multi-scale split: one half of the channels goes on through `rest`, the other is finished.

    shape: of one example, with an even number of channels first. rest: a bijection from the first
    half to vectors. Gives vectors (B, D), the finished half first (Dinh et al. 2017, section 3.6).
    Right after a coupling the finished half has already been shifted and scaled given the other,
    which is what Glow's learned prior of that half does. Raises `ValueError` for an odd number.
    """

    def __init__(self, shape: Sequence[int], rest: Bijection):
        super().__init__()
        if shape[0] % 2:
            raise ValueError(f"Split needs an even number of channels, got shape {tuple(shape)}")
        self.part: tuple[int, ...] = (shape[0] // 2, *shape[1:])
        self.rest = rest

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if x.shape[1:] != (2 * self.part[0], *self.part[1:]):
            raise ValueError(
                f"Split takes (B, {2 * self.part[0]}, *{self.part[1:]}), got {tuple(x.shape)}"
            )
        on, finished = x.chunk(2, 1)
        y, log_det = self.rest(on, context)
        return torch.cat([finished.flatten(1), y], 1), log_det

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        size = math.prod(self.part)
        finished = y[:, :size].unflatten(1, self.part)
        return torch.cat([self.rest.inverse(y[:, size:], context), finished], 1)


def _zero_last(network: nn.Module) -> None:
    layers = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    for value in layers[-1].parameters() if layers else ():
        nn.init.zeros_(value)


def _channelwise(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.ndim - 2))


def _no_change(x: Tensor) -> Tensor:
    return torch.zeros(len(x), dtype=x.dtype, device=x.device)


def _count(name: str, value: int, least: int) -> int:
    if value < least:
        raise ValueError(f"{name} must be a whole number from {least} up, got {value}")
    return value


def _check_channels(part: nn.Module, x: Tensor, channels: int) -> None:
    if x.ndim < 2 or x.shape[1] != channels:
        raise ValueError(
            f"this {type(part).__name__} is for (B, {channels}, ...), got shape {tuple(x.shape)}: "
            "change its number of channels or the data"
        )
