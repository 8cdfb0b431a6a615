"""A training step of SentenceMIM at the size of the Penn Treebank, beside a bare loop.

    python benchmarks/sentence_step.py [turns]

The bare loop is what one would write by hand: two `nn.GRU`, a linear layer over all places of the
batch, `F.cross_entropy` that ignores padding, Adam and a clip, on the very same batches. Sentences
are random words with lengths like those of the treebank (21 words, standard deviation 10). A ratio
of times is one of tokens per second, as both read the same tokens. By hand it also prints tokens
per second, and the seconds that 100 sentences of 20 tokens take.
"""

import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from turns import TURNS, Ratio, in_turn, ratio, show

from lvmlab.batches import Batches, LengthBuckets
from lvmlab.joint import Batch
from lvmlab.language import END
from lvmlab.models import sentence_gru
from lvmlab.objectives import sentence_mim
from lvmlab.steps import descend

WORDS, LATENT, EMBEDDING, HIDDEN, BATCH, CLIP = 10_000, 128, 300, 512, 20, 0.25
REPEATS = 4


class Bare(nn.Module):
    """The same sizes without joints, distributions or objectives."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(WORDS, EMBEDDING)
        self.read = nn.GRU(EMBEDDING, HIDDEN, batch_first=True)
        self.code = nn.Linear(HIDDEN, 2 * LATENT)
        self.start = nn.Linear(LATENT, HIDDEN)
        self.write = nn.GRU(EMBEDDING + LATENT, HIDDEN, batch_first=True)
        self.words = nn.Linear(HIDDEN, WORDS)

    def forward(self, x: Tensor) -> Tensor:
        mean, raw = self.code(self.read(self.tokens(x.flip(1)))[1][0]).chunk(2, 1)
        log_variance = raw.clamp(-10, 10)
        z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        beside = z[:, None].expand(-1, x.shape[1], -1)
        given = nn.functional.dropout(self.tokens(nn.functional.pad(x[:, :-1], (1, 0))), 0.5)
        hidden = self.write(torch.cat([given, beside], 2), self.start(z)[None])[0]
        wanted = x.masked_fill((x == END) & (x.roll(1, 1) == END), -100)  # padding after the end
        logits = self.words(hidden).flatten(0, 1)
        nll = nn.functional.cross_entropy(logits, wanted.flatten(), reduction="sum")
        codes = ((z - mean) ** 2 / log_variance.exp() + log_variance + z**2).sum()
        return (nll + codes / 4) / len(x)


def sentences(rows: int = 2000) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    lengths = (21 + 10 * torch.randn(rows, generator=generator)).round().long().clamp(1, 60)
    rank = torch.rand(rows, 61, generator=generator) * torch.tensor(float(WORDS)).log()
    x = rank.exp().long().clamp(1, WORDS - 1)  # a few words make most of the text
    return x.masked_fill(torch.arange(61) >= lengths[:, None], END), lengths + 1


def ours(stream: Batches) -> Callable[[], None]:
    torch.manual_seed(0)
    p, q = sentence_gru(WORDS, LATENT, EMBEDDING, HIDDEN, 61)
    adam = torch.optim.Adam(nn.ModuleList([p, q]).parameters(), lr=1e-3, fused=True)
    return _in_order(descend(sentence_mim, p, q, adam, CLIP), stream)


def bare(stream: Batches) -> Callable[[], None]:
    torch.manual_seed(0)
    model = Bare()
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def step(batch: Batch) -> None:
        adam.zero_grad(set_to_none=True)
        model(batch["x"]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        adam.step()

    return _in_order(step, stream)


def _in_order(step: Callable[[Batch], object], stream: Batches) -> Callable[[], None]:
    count = iter(range(10**9))

    def move() -> None:
        step(stream.at(next(count)))

    return move


def timed(turns: int) -> dict[str, list[float]]:
    x, lengths = sentences()
    buckets = LengthBuckets({"x": x}, lengths, BATCH)
    rivals = {"SentenceMIM": ours(buckets), "two bare GRUs": bare(buckets)}
    rivals["SentenceMIM, lengths mixed"] = ours(Batches({"x": x}, BATCH))
    return in_turn(rivals, max(turns // 2, 5), REPEATS)  # batches differ in length


def ratios(turns: int = TURNS) -> list[Ratio]:
    return _ratios(timed(turns))


def _ratios(times: dict[str, list[float]]) -> list[Ratio]:
    return [
        ratio(times, "SentenceMIM", "two bare GRUs", "the same batches of similar lengths"),
        ratio(times, "SentenceMIM, lengths mixed", "SentenceMIM", "padded to 61 tokens"),
    ]


def sampling() -> float:
    """Seconds of a processor for 100 sentences of 20 tokens."""
    p, _ = sentence_gru(WORDS, LATENT, EMBEDDING, HIDDEN, 20)
    texts = p.eval().factors["x|z"](torch.randn(100, LATENT), torch.full((100,), 20))
    texts.sample()
    started = time.process_time()
    texts.sample()
    return time.process_time() - started


if __name__ == "__main__":
    torch.set_num_threads(1)
    times = timed(int(sys.argv[1]) if len(sys.argv) > 1 else TURNS)
    show(_ratios(times))
    x, lengths = sentences()
    stream = LengthBuckets({"x": x}, lengths, BATCH)
    steps = range(REPEATS, REPEATS * (1 + len(times["SentenceMIM"])))  # the first turn warms up
    tokens = sum(int(lengths[stream.at(s)["index"]].sum()) for s in steps)
    for name in ("SentenceMIM", "two bare GRUs"):
        seconds = REPEATS * sum(times[name]) / 1000
        print(f"{name}: {tokens / seconds:,.0f} tokens a second")
    print(f"100 sentences of 20 tokens: {sampling():.2f} s")
