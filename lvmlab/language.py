"""Language models: distributions over texts, written as rows of token numbers.

A row of T numbers is a text, then END up to the end of the row: only the first END counts, so
trailing columns may be cut from a batch or added to it. A row without END is a text that was cut.
"""

from collections.abc import Collection, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from lvmlab import decoding
from lvmlab.networks.recurrent import END as END
from lvmlab.networks.recurrent import counted_tokens as counted_tokens

CHUNK = 256  # rows of logits at a time: 4 MB for 4,000 tokens


class Softmax(nn.Module):
    """The next token from a hidden state (M, D): one logit for each of V tokens, biases if wanted.

    `softmax(hidden, target)` is the log-probability of each target, (M,) nats; `log_prob(hidden)`
    of every token, (M, V). A few rows of logits at a time: those of a whole batch are tens of
    megabytes, and asking the system for them anew costs more than the arithmetic
    (benchmarks/text_step.py).
    """

    def __init__(self, width: int, vocabulary: int, bias: bool = False):
        super().__init__()
        self.linear = nn.Linear(width, vocabulary, bias=bias)

    def forward(self, hidden: Tensor, target: Tensor) -> Tensor:
        device = hidden.device.type
        weight: Tensor = self.linear.weight
        bias: Tensor | None = self.linear.bias
        if torch.is_autocast_enabled(device):  # once, not for every chunk
            dtype = torch.get_autocast_dtype(device)
            hidden, weight = hidden.to(dtype), weight.to(dtype)
            bias = None if bias is None else bias.to(dtype)
        nll = [
            F.cross_entropy(F.linear(rows, weight, bias), wanted, reduction="none")
            for rows, wanted in _pieces(hidden, target)
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
    tokens 0 ... t alone; `network.begin` and `network.step` do the same token by token. head:
    hidden states to tokens, a `Softmax` or what has its methods. context: (B, D). Events are rows
    (T,) for any T up to `length`, so `event_shape` is empty. `log_prob` (B,) is in nats, of each
    text up to and with its first END, or of its first T tokens: over all rows of T columns the
    probabilities sum to 1.
    lengths (B,): the tokens that each text has before END, where they are known. END then comes
    there and nowhere else, at no cost, and a text of another length is impossible: times p(T) that
    is a distribution over all texts again (MIM thesis, eq. 6.2; `length-factorisation-6.2`).
    """

    has_rsample = False
    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(
        self,
        network: Any,
        head: Any,
        context: Tensor,
        vocabulary: int,
        length: int,
        lengths: Tensor | None = None,
    ):
        super().__init__(context.shape[:1], validate_args=False)
        self.network, self.head, self.context = network, head, context
        self.vocabulary, self.length, self.lengths = vocabulary, length, lengths

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.integer_interval(0, self.vocabulary - 1), 1)

    def log_prob(self, value: Tensor) -> Tensor:
        nats = self.token_log_prob(value).sum(1)
        if self.lengths is None:
            return nats
        written = (counted_tokens(value) & (value != END)).sum(1)
        return nats.masked_fill(written != self.lengths, -torch.inf)

    def token_log_prob(self, value: Tensor) -> Tensor:
        """Nats of every token given those before it, (B, T); 0 where tokens do not count."""
        started = F.pad(value[:, :-1], (1, 0), value=END)
        counted = counted_tokens(value)
        if self.lengths is not None:
            counted = counted & (value != END)
        hidden, wanted = self.network(started, self.context)[counted], value[counted]
        if self.lengths is None:
            nats = self.head(hidden, wanted)
        else:
            nats = torch.cat([self._going_on(*p) for p in _pieces(hidden, wanted)])
        return torch.zeros(value.shape).to(nats).masked_scatter(counted, nats)

    def _going_on(self, hidden: Tensor, wanted: Tensor) -> Tensor:
        """Nats of tokens (M,), given that the text does not end here."""
        words = self.head.log_prob(hidden)[:, END + 1 :]
        return words.gather(1, wanted[:, None] - END - 1)[:, 0] - words.logsumexp(1)

    def sample(
        self,
        sample_shape: Any = (),
        temperature: float = 1.0,
        top: int | None = None,
        banned: Collection[int] = (),
    ) -> Tensor:
        """Draw texts (B, length); `decoding.draw` says what the settings do.

        Raises `ValueError` as it does, and for a sample shape: one text is drawn for each context.
        """
        if tuple(sample_shape):
            raise ValueError(f"one text is drawn for each context, got shape {sample_shape}")
        return decoding.draw(self, temperature, top, banned)

    def repeated(self, times: int) -> "TokenSequences":
        """The same with every context so many times, one after the other."""
        lengths = None if self.lengths is None else self.lengths.repeat_interleave(times, 0)
        context = self.context.repeat_interleave(times, 0)
        return TokenSequences(
            self.network, self.head, context, self.vocabulary, self.length, lengths
        )


class LanguageModel(nn.Module):
    """p(x|z) over texts: an autoregressive network that is given z at every token.

    network: such as `Transformer` or `recurrent.Writer`, with `vocabulary`, `width` and `length`.
    embed: z to the context (B, width), such as `nn.Embedding(4, 128)` for categories, `nn.Linear`
    for vectors; a `Writer` takes z as it is. head: a `Softmax` of its own when None (CoLLike, F.2).
    Called with z and lengths it is p(x|z,T).
    """

    def __init__(self, network: Any, embed: nn.Module, head: nn.Module | None = None):
        super().__init__()
        self.network, self.embed = network, embed
        self.head = Softmax(network.width, network.vocabulary) if head is None else head

    def forward(self, z: Tensor, lengths: Tensor | None = None) -> TokenSequences:
        network, context = self.network, self.embed(z)
        return TokenSequences(
            network, self.head, context, network.vocabulary, network.length, lengths
        )


class Lengths(nn.Module):
    """p(T), the shares of texts with T = 0, 1, ..., `longest` tokens before END.

    lengths: (N,) whole numbers, those of the training texts. added: so many texts more of every
    length, without which a length that was never seen would be impossible.
    Raises `ValueError` for lengths that are no such numbers, and for shares that are all 0.
    """

    nats: Tensor

    def __init__(self, lengths: Tensor, longest: int, added: float = 1.0):
        super().__init__()
        if lengths.ndim != 1 or lengths.is_floating_point() or not len(lengths):
            raise ValueError(f"lengths must be (N,) whole numbers, got {tuple(lengths.shape)}")
        if lengths.min() < 0 or lengths.max() > longest or added < 0:
            raise ValueError(
                f"lengths must lie in 0 ... {longest} and added be 0 or more, got "
                f"{int(lengths.min())} ... {int(lengths.max())} and {added}"
            )
        counts = lengths.bincount(minlength=longest + 1) + added
        self.register_buffer("nats", (counts / counts.sum()).log())

    def forward(self) -> Distribution:
        return torch.distributions.Categorical(logits=self.nats, validate_args=False)


def _pieces(*rows: Tensor) -> Any:
    return zip(*(some.split(CHUNK) for some in rows), strict=True)


def _full(tensor: Tensor) -> Tensor:
    """In single precision at least."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
