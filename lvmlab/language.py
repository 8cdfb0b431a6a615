"""Language models: distributions over texts, written as rows of token numbers.

A row of T numbers is a text, then END up to the end of the row: only the first END counts, so
trailing columns may be cut from a batch or added to it. A row without END is a text that was cut.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from lvmlab.networks import Transformer

END = 0
"""The token that ends a text; read at the start, it says that nothing was written yet."""

CHUNK = 256  # rows of logits at a time: 4 MB for 4,000 tokens


class Softmax(nn.Module):
    """The next token from a hidden state (M, D): one logit for each of V tokens.

    `softmax(hidden, target)` is the log-probability of each target, (M,) nats; `log_prob(hidden)`
    of every token, (M, V). A few rows of logits at a time: those of a whole batch are tens of
    megabytes, and asking the system for them anew costs more than the arithmetic
    (benchmarks/text_step.py).
    """

    def __init__(self, width: int, vocabulary: int):
        super().__init__()
        self.linear = nn.Linear(width, vocabulary, bias=False)

    def forward(self, hidden: Tensor, target: Tensor) -> Tensor:
        weight, device = self.linear.weight, hidden.device.type
        if torch.is_autocast_enabled(device):  # once, not for every chunk
            dtype = torch.get_autocast_dtype(device)
            hidden, weight = hidden.to(dtype), weight.to(dtype)
        nll = [
            F.cross_entropy(rows @ weight.T, wanted, reduction="none")
            for rows, wanted in zip(hidden.split(CHUNK), target.split(CHUNK), strict=True)
        ]
        return -_full(torch.cat(nll))

    def log_prob(self, hidden: Tensor) -> Tensor:
        return _full(self.linear(hidden)).log_softmax(-1)


class AdaptiveSoftmax(nn.AdaptiveLogSoftmaxWithLoss):
    """The same in two steps: a frequent token or a group of rare ones, then which of the group.

    `AdaptiveSoftmax(128, 4000, [300, 1200])` for tokens numbered from the most frequent: the
    tokens from 300 and from 1,200 on are groups. Still exact, and several times cheaper, because
    most targets are frequent (Grave et al. 2017; torch's module). Under autocast the products of
    a pass without gradient are taken in the lower precision, as when CoLLike scores pairs.
    """

    def __init__(self, width: int, vocabulary: int, cutoffs: Sequence[int]):
        super().__init__(width, vocabulary, cutoffs, div_value=1.0)
        for logits in (self.head, *self.tail):  # exponentials in full precision always
            logits.register_forward_hook(lambda _module, _given, output: _full(output))

    def forward(self, hidden: Tensor, target: Tensor) -> Tensor:  # type: ignore[override]
        # with a gradient the pieces are too small for the lower precision to gain anything
        lower = torch.is_autocast_enabled(hidden.device.type) and not torch.is_grad_enabled()
        with torch.autocast(hidden.device.type, enabled=lower):
            return super().forward(_full(hidden), target).output


class TokenSequences(Distribution):
    """Texts of at most `length` tokens, drawn token by token: each given those before it.

    network(tokens, context): (B, T) and (B, D) to hidden states (B, T, D), position t from the
    tokens 0 ... t alone. head: hidden states to tokens, a `Softmax` or what has its methods.
    context: (B, D). Events are rows (T,) for any T up to `length`, so `event_shape` is empty.
    `log_prob` (B,) is in nats, of each text up to and with its first END, or of its first T
    tokens: over all rows of T columns the probabilities sum to 1.
    """

    has_rsample = False
    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(
        self,
        network: Callable[..., Tensor],
        head: Any,
        context: Tensor,
        vocabulary: int,
        length: int,
    ):
        super().__init__(context.shape[:1], validate_args=False)
        self.network, self.head, self.context = network, head, context
        self.vocabulary, self.length = vocabulary, length

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.integer_interval(0, self.vocabulary - 1), 1)

    def log_prob(self, value: Tensor) -> Tensor:
        started = F.pad(value[:, :-1], (1, 0), value=END)
        counted = counted_tokens(value)
        hidden = self.network(started, self.context)[counted]
        nats = self.head(hidden, value[counted])
        return torch.zeros(value.shape).to(nats).masked_scatter(counted, nats).sum(1)

    def sample(self, sample_shape: Any = (), temperature: float = 1.0) -> Tensor:
        """Draw texts (B, length); temperature 0 takes the likeliest token each time.

        Raises `ValueError` for a temperature below 0 and for a sample shape: one text is drawn
        for each context.
        """
        if tuple(sample_shape):
            raise ValueError(f"one text is drawn for each context, got shape {sample_shape}")
        if not 0 <= temperature < math.inf:
            raise ValueError(f"temperature must be 0 or more, got {temperature}")
        read = self.context.new_full((len(self.context), 1), END, dtype=torch.long)
        going = torch.ones(len(read), dtype=torch.bool, device=read.device)
        with torch.no_grad():
            for _ in range(self.length):
                nats = self.head.log_prob(self.network(read, self.context)[:, -1])
                token = _chosen(nats, temperature).where(going, END)
                going = going & (token != END)
                read = torch.cat([read, token[:, None]], 1)
        return read[:, 1:]


class LanguageModel(nn.Module):
    """p(x|z) over texts: an autoregressive network that is given z at every token.

    network: such as `Transformer`, with `vocabulary`, `width` and `length`. embed: z to the
    context (B, width), such as `nn.Embedding(4, 128)` for categories, `nn.Linear` for vectors.
    head: a `Softmax` of its own when None (CoLLike, F.2).
    """

    def __init__(self, network: Transformer, embed: nn.Module, head: nn.Module | None = None):
        super().__init__()
        self.network, self.embed = network, embed
        self.head = Softmax(network.width, network.vocabulary) if head is None else head

    def forward(self, z: Tensor) -> TokenSequences:
        network, context = self.network, self.embed(z)
        return TokenSequences(network, self.head, context, network.vocabulary, network.length)


def counted_tokens(value: Tensor) -> Tensor:
    """Which tokens of (B, T) count: those up to the first END of the row, and it, (B, T) bool."""
    ended = (value == END).cumsum(1)
    return (ended == 0) | ((ended == 1) & (value == END))


def _chosen(nats: Tensor, temperature: float) -> Tensor:
    if temperature == 0:
        return nats.argmax(1)
    return torch.distributions.Categorical(logits=nats / temperature).sample()


def _full(tensor: Tensor) -> Tensor:
    """In single precision at least."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
