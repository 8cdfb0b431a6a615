"""A causal Transformer over tokens: what an autoregressive p(x|z) runs inside."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Transformer(nn.Module):
    """A causal pre-norm Transformer: tokens read so far, and a context, to hidden states.

    `Transformer(4000)(tokens, context)` maps tokens (B, T) of whole numbers below `vocabulary` and
    a context (B, width), added to the embedding of every token, to (B, T, width); position t sees
    the tokens 0 ... t and none after (CoLLike, F.2: two layers, width and hidden layer 128, 4
    heads). `length` is the largest T. Tokens are embedded as N(0, 1) numbers and positions as
    N(0, 0.5^2) at first; no dropout.
    Raises `ValueError` for sizes below 1, a width that the heads do not divide, and a T above
    `length`.
    """

    def __init__(
        self,
        vocabulary: int,
        width: int = 128,
        hidden: int = 128,
        layers: int = 2,
        heads: int = 4,
        length: int = 192,
        forget: float = 0.0,
    ):
        super().__init__()
        named = {"vocabulary": vocabulary, "width": width, "hidden": hidden, "layers": layers}
        named |= {"heads": heads, "length": length}
        if small := {name: size for name, size in named.items() if size < 1}:
            raise ValueError(f"sizes must be whole numbers from 1 up, got {small}")
        if width % heads:
            raise ValueError(f"width must be a multiple of heads, got {width} and {heads}")
        if not 0 <= forget <= 1:
            raise ValueError(f"forget must be a share from 0 to 1, got {forget}")
        self.vocabulary, self.width, self.length = vocabulary, width, length
        self.forget = forget
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(length, width)
        nn.init.normal_(self.positions.weight, std=0.5)
        self.blocks = nn.ModuleList(_Block(width, hidden, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        length = tokens.shape[1]
        if length > self.length:
            raise ValueError(
                f"tokens have {length} columns, this Transformer was built for at most "
                f"{self.length}: cut the texts or give it length={length}"
            )
        read = self.tokens(tokens)
        if self.forget and self.training and torch.is_grad_enabled():
            read = read * _kept(tokens, self.forget)
        x = read + self.positions.weight[:length] + context[:, None]
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def begin(self, context: Tensor) -> tuple[Tensor, ...]:
        """What `step` remembers before the first token: nothing was read."""
        return (context.new_empty(len(context), 0, dtype=torch.long),)

    def step(
        self, token: Tensor, context: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The hidden state (B, width) after one more token (B,), and the state to go on from."""
        read = torch.cat([state[0], token[:, None]], 1)
        return self(read, context)[:, -1], (read,)


class _Block(nn.Module):
    """Attention to the past, then a layer of its own for every position, each added on."""

    def __init__(self, width: int, hidden: int, heads: int):
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_layer = nn.LayerNorm(width), nn.LayerNorm(width)
        self.asked = nn.Linear(width, 3 * width)
        self.answer = nn.Linear(width, width)
        self.layer = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        parts = self.asked(self.before_attention(x)).unflatten(-1, (3, self.heads, -1))
        parts = parts.permute(2, 0, 3, 1, 4)  # three of (B, heads, T, D)
        # in single precision always: on a CPU its gradient in bfloat16 takes four times as long
        with torch.autocast(x.device.type, enabled=False):
            query, key, value = parts.to(torch.promote_types(parts.dtype, torch.float32))
            seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.answer(seen.transpose(1, 2).flatten(2))
        return x + self.layer(self.before_layer(x))


def _kept(tokens: Tensor, forget: float) -> Tensor:
    """0 for tokens to forget and 1 for the others, (B, T, 1), the same in equal rows."""
    different, which = torch.unique(tokens, dim=0, return_inverse=True)
    keep = torch.rand(different.shape, device=tokens.device) >= forget
    return keep[which, :, None]
