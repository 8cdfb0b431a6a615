"""Writing texts with a language model: drawn, greedy, among the likeliest, or by beam search.

What writes is a `language.TokenSequences`. Its network is asked one token at a time: `begin` gives
the state before the first token, `step` a hidden state for the next one.
"""

import math
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from lvmlab.networks.recurrent import END


def draw(
    texts: Any, temperature: float = 1.0, top: int | None = None, banned: Collection[int] = ()
) -> Tensor:
    """Texts (B, length), token by token; temperature 0 takes the likeliest token each time.

    top: only so many of the likeliest tokens are drawn from. banned: tokens never written, such as
    that of an unknown word. Raises `ValueError` for a temperature below 0, fewer than one token to
    draw from, and banned tokens that are END or outside the vocabulary.
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be 0 or more, got {temperature}")
    if top is not None and top < 1:
        raise ValueError(f"top must be a number of tokens from 1 up, got {top}")
    _check(banned, texts)
    with torch.no_grad():
        state = texts.network.begin(texts.context)
        token = texts.context.new_full((len(texts.context),), END, dtype=torch.long)
        going, written = torch.ones_like(token, dtype=torch.bool), []
        for place in range(texts.length):
            nats, state = _next(texts, token, state, place, banned)
            token = _chosen(nats, temperature, top).where(going, END)
            written.append(token)
            going = going & (token != END)
            if not going.any():
                break
    return _filled(torch.stack(written, 1), texts.length)


def beam(texts: Any, width: int = 5, banned: Collection[int] = ()) -> tuple[Tensor, Tensor]:
    """The likeliest texts (B, length) that a beam search finds, and their nats (B,).

    The `width` likeliest beginnings are kept at every token; with as many as there are texts the
    search is exact. Nats are of a model that cannot write what is banned, and not divided by the
    length, so that short texts have an advantage.
    Raises `ValueError` for a width below 1, and as `draw` for what is banned.
    """
    if width < 1:
        raise ValueError(f"width must be a number of texts from 1 up, got {width}")
    _check(banned, texts)
    rows = len(texts.context)
    with torch.no_grad():
        wide = texts.repeated(width)
        state, device = wide.network.begin(wide.context), wide.context.device
        token = torch.full((rows * width,), END, device=device)
        total = torch.full((rows, width), -math.inf, device=device)
        total[:, 0] = 0
        written = torch.empty(rows * width, 0, dtype=torch.long, device=device)
        ended = torch.zeros_like(token, dtype=torch.bool)
        base = torch.arange(rows, device=device)[:, None] * width
        for place in range(texts.length):
            nats, state = _next(wide, token, state, place, banned)
            nats = nats.log_softmax(1).masked_fill(ended[:, None], -math.inf)
            nats[ended, END] = 0.0
            sums = (total.flatten()[:, None] + nats).unflatten(0, (rows, width)).flatten(1)
            total, chosen = sums.topk(width, 1)
            before = (base + chosen // nats.shape[1]).flatten()
            token = (chosen % nats.shape[1]).flatten()
            written = torch.cat([written[before], token[:, None]], 1)
            state = tuple(s[before] for s in state)
            ended = ended[before] | (token == END)
            if ended.all():
                break
    best = written.unflatten(0, (rows, width))[:, 0]
    return _filled(best, texts.length), total[:, 0]


def _next(
    texts: Any, token: Tensor, state: Any, place: int, banned: Collection[int]
) -> tuple[Tensor, Any]:
    """Logits (B, V) of the token at this place, minus infinity for what may not come."""
    hidden, state = texts.network.step(token, texts.context, state)
    nats = texts.head.log_prob(hidden)
    if banned:
        nats[:, list(banned)] = -math.inf
    if texts.lengths is not None:
        over = place >= texts.lengths
        nats[:, END] = -math.inf
        nats = nats.masked_fill(over[:, None], -math.inf)
        nats[:, END] = torch.where(over, 0.0, nats[:, END])
    return nats, state


def _chosen(nats: Tensor, temperature: float, top: int | None) -> Tensor:
    if temperature == 0:
        return nats.argmax(1)
    if top is not None and top < nats.shape[1]:
        best, which = nats.topk(top, 1)
        return which.gather(1, _drawn(best / temperature)[:, None])[:, 0]
    return _drawn(nats / temperature)


def _drawn(logits: Tensor) -> Tensor:
    """One draw a row, where the sum of probabilities passes a uniform number.

    That takes one random number; `torch.multinomial` takes one for every token, which costs more
    than the network (benchmarks/sentence_step.py).
    """
    passed = logits.softmax(1).cumsum(1)
    total = passed[:, -1:]
    below = torch.nextafter(total, torch.zeros_like(total))  # the last sum is always above
    height = torch.minimum(torch.rand_like(total) * total, below)
    return torch.searchsorted(passed, height, right=True)[:, 0]


def _filled(written: Tensor, length: int) -> Tensor:
    return torch.nn.functional.pad(written, (0, length - written.shape[1]), value=END)


def _check(banned: Collection[int], texts: Any) -> None:
    if texts.lengths is not None and len(set(banned)) >= texts.vocabulary - 1:
        raise ValueError("banned must leave a word to write where the lengths are given")
    if bad := [token for token in banned if not END < token < texts.vocabulary]:
        raise ValueError(
            f"banned must hold token numbers from 1 to {texts.vocabulary - 1}, got {bad}: "
            f"{END} ends a text and cannot be left out"
        )
