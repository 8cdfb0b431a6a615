"""Recurrent networks over tokens: one that reads a text into a vector, one that writes a text."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

END = 0
"""The token that ends a text; read at the start, it says that nothing was written yet."""

State = tuple[Tensor, ...]
"""What a writer remembers, each (B, ...)."""


class Embedded(nn.Module):
    """Tokens (B, T) to embeddings (B, T, E) and the place (B,) of the last one that counts.

    Tokens after the first END of a row do not count. reverse: those that count are read from the
    last to the first, so that what is read last is what a decoder writes first. blanks: in
    training, the share of words that is read as the token `unknown` (MIM thesis, appendix E).
    Raises `ValueError` for a share outside 0 to 1.
    """

    def __init__(
        self,
        tokens: nn.Embedding,
        reverse: bool = False,
        blanks: float = 0.0,
        unknown: int | None = None,
    ):
        super().__init__()
        if not 0 <= blanks <= 1:
            raise ValueError(f"blanks must be a share from 0 to 1, got {blanks}")
        if blanks and unknown is None:
            raise ValueError("blanks need the number of the token they are read as: give unknown")
        self.tokens, self.reverse, self.blanks, self.unknown = tokens, reverse, blanks, unknown

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        last = counted_tokens(x).sum(1) - 1
        if self.blanks and self.training and torch.is_grad_enabled():
            blank = (torch.rand(x.shape, device=x.device) < self.blanks) & (x != END)
            x = x.masked_fill(blank, self.unknown)  # type: ignore[arg-type]
        if self.reverse:
            places = (last[:, None] - torch.arange(x.shape[1], device=x.device)).clamp_min(0)
            x = x.gather(1, places)
        return self.tokens(x), last


class Reader(nn.Module):
    """What `Embedded` gives to the hidden state (B, hidden) after the last token that counts."""

    def __init__(self, width: int, hidden: int, cell: str = "gru"):
        super().__init__()
        self.recurrent = _cell(cell)(width, hidden, batch_first=True)

    def forward(self, read: tuple[Tensor, Tensor]) -> Tensor:
        embedded, last = read
        states = self.recurrent(embedded)[0]
        return states[torch.arange(len(last), device=last.device), last]


class Writer(nn.Module):
    """A GRU or an LSTM that is told z at every token: tokens read so far to hidden states.

    `Writer(nn.Embedding(V, E), latent, hidden)(tokens, z)` maps (B, T) and (B, latent) to (B, T,
    width); position t sees the tokens 0 ... t and none after. Each token is embedded, with
    `dropout`, and z is put beside it. A GRU starts from a linear map of z and keeps what it gives;
    an LSTM starts from c = W z without bias and h = tanh(c), with dropout on what it gives (MIM
    thesis, chapter 7; He et al. 2019). skip: z stands beside every hidden state as well, so that
    the width is hidden + latent (Skip-VAE). One token at a time: `begin`, then `step`.
    `length` is the largest T. Raises `ValueError` for a longer row and an unknown cell.
    """

    def __init__(
        self,
        tokens: nn.Embedding,
        latent: int,
        hidden: int,
        length: int,
        cell: str = "gru",
        dropout: float = 0.5,
        skip: bool = False,
    ):
        super().__init__()
        self.tokens, self.skip, self.length = tokens, skip, length
        self.vocabulary, self.width = tokens.num_embeddings, hidden + latent * skip
        self.recurrent = _cell(cell)(tokens.embedding_dim + latent, hidden, batch_first=True)
        self.start = nn.Linear(latent, hidden, bias=cell == "gru")
        self.before, self.after = nn.Dropout(dropout), nn.Dropout(dropout if cell == "lstm" else 0)

    def forward(self, tokens: Tensor, z: Tensor) -> Tensor:
        if tokens.shape[1] > self.length:
            raise ValueError(
                f"tokens have {tokens.shape[1]} columns, this Writer was built for at most "
                f"{self.length}: cut the texts or give it length={tokens.shape[1]}"
            )
        beside = z[:, None].expand(-1, tokens.shape[1], -1)
        given = torch.cat([self.before(self.tokens(tokens)), beside], 2)
        state = tuple(s[None] for s in self.begin(z))
        hidden = self.after(self.recurrent(given, state if len(state) > 1 else state[0])[0])
        return torch.cat([hidden, beside], 2) if self.skip else hidden

    def begin(self, z: Tensor) -> State:
        """The state before the first token."""
        start = self.start(z)
        return (start,) if isinstance(self.recurrent, nn.GRU) else (start.tanh(), start)

    def step(self, token: Tensor, z: Tensor, state: State) -> tuple[Tensor, State]:
        """The hidden state (B, width) after one more token (B,), and the state to go on from."""
        r: Any = self.recurrent
        given = torch.cat([self.before(self.tokens(token)), z], 1)
        weights = r.weight_ih_l0, r.weight_hh_l0, r.bias_ih_l0, r.bias_hh_l0
        if isinstance(r, nn.GRU):
            state = (torch.gru_cell(given, state[0], *weights),)
        else:
            state = torch.lstm_cell(given, state, *weights)
        hidden = self.after(state[0])
        return (torch.cat([hidden, z], 1) if self.skip else hidden), state


def counted_tokens(value: Tensor) -> Tensor:
    """Which tokens of (B, T) count: those up to the first END of the row, and it, (B, T) bool."""
    ended = value == END
    return F.pad(ended[:, :-1], (1, 0)).cumsum(1) == 0


def _cell(name: str) -> Callable[..., nn.Module]:
    cells: dict[str, Callable[..., nn.Module]] = {"gru": nn.GRU, "lstm": nn.LSTM}
    if name not in cells:
        raise ValueError(f"cell must be one of {', '.join(cells)}, got {name!r}")
    return cells[name]
