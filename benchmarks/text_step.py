"""What a step of CoLLike on texts costs beside a supervised one and one of exact MaL, and why.

    python benchmarks/text_step.py [rounds] [dataset]

All variants take their steps in turn, so that other load falls on all alike; milliseconds of a
processor for a step (means, and the middle half). The supervised step is CoLLike's descent
with z given. Then one thing at a time is changed in the CoLLike step.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch

from lvmlab import Joint, language
from lvmlab.batches import Batches, LengthBuckets
from lvmlab.devices import coarse_dtype
from lvmlab.joint import Batch
from lvmlab.models import text_categories
from lvmlab.objectives import complete_likelihood, marginal_likelihood
from lvmlab.objectives.complete import best_pairing, pair_scores
from lvmlab.steps import descend, match_then_descend
from lvmlab.studies.text_runs import Corpus, corpus

BATCH = 32
WHOLE = 10**9


def variant(
    data: Corpus,
    kind: str,
    cutoffs: tuple[int, ...] = (),
    score: torch.dtype | None = None,
    chunk: int = language.CHUNK,
    buckets: bool = True,
    batch: int = BATCH,
) -> Callable[[int], None]:
    texts = data.texts["train"]
    latents = torch.randint(4, (len(texts.x),), generator=torch.Generator().manual_seed(1))
    p, q = text_categories(latents, 4, len(data.tokens), length=texts.x.shape[1], cutoffs=cutoffs)
    learned = [v for v in p.parameters() if v.requires_grad]
    optimiser = torch.optim.Adam(learned, lr=1e-4, fused=True)
    step = {
        "supervised": lambda: descend(complete_likelihood, p, q, optimiser),
        "CoLLike": lambda: match_then_descend(p, q, optimiser, autocast=score),
        "MaL": lambda: descend(marginal_likelihood, p, q, optimiser),
    }[kind]()
    values = {"x": texts.x}
    plain = Batches(values, batch)
    stream = LengthBuckets(values, texts.lengths, batch) if buckets else plain

    def move(number: int) -> None:
        language.CHUNK = chunk
        step(stream.at(number))

    return move


def in_turn(variants: dict[str, Callable[[int], None]], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 2):
        for name, move in variants.items():
            started = time.process_time()
            move(number)
            times[name].append(1000 * (time.process_time() - started))
    return {name: found[2:] for name, found in times.items()}


def show(times: dict[str, list[float]], beside: str) -> None:
    base = statistics.fmean(times[beside])
    for name, found in times.items():
        mean, (low, _, high) = statistics.fmean(found), statistics.quantiles(found, n=4)
        print(f"  {name:<40} {mean:6.0f} ms ({low:.0f} ... {high:.0f})  x {mean / base:.2f}")


def pairing(data: Corpus) -> tuple[float, float]:
    """Milliseconds of one assignment of a batch of 64, and of the scores that it needs."""
    texts = data.texts["train"]
    latents = torch.randint(4, (64,), generator=torch.Generator().manual_seed(1))
    p, _ = text_categories(latents, 4, len(data.tokens), length=texts.x.shape[1])
    batch: Batch = next(iter(LengthBuckets({"x": texts.x}, texts.lengths, 64)))
    found = []
    for _ in range(9):
        started = time.process_time()
        scores = pair_scores(Joint("p", dict(p.factors)), {"x": batch["x"]}, {"z": latents})
        scored = time.process_time()
        best_pairing(scores)
        found.append((time.process_time() - scored, scored - started))
    return tuple(1000 * statistics.median(column) for column in zip(*found, strict=True))  # type: ignore[return-value]


def main(rounds: int, name: str) -> None:
    torch.set_num_threads(1)
    data, coarse = corpus(name, 4000, 64), coarse_dtype()
    print(f"{name}, batch {BATCH}, {len(data.tokens)} tokens, scores in {coarse or 'float32'}")
    cuts = (300, 1200)
    for title, cutoffs in (("full softmax", ()), ("adaptive softmax", cuts)):
        print(f"{title}, beside the supervised step:")
        kinds = {
            kind: variant(data, kind, cutoffs, coarse) for kind in ("supervised", "CoLLike", "MaL")
        }
        show(in_turn(kinds, rounds), "supervised")
    print("the CoLLike step with the full softmax, one thing changed at a time:")
    changed = {
        "as it is": variant(data, "CoLLike", score=coarse),
        "scores in float32": variant(data, "CoLLike"),
        "one piece of logits instead of chunks": variant(
            data, "CoLLike", score=coarse, chunk=WHOLE
        ),
        "shuffled batches instead of buckets": variant(
            data, "CoLLike", score=coarse, buckets=False
        ),
        "adaptive softmax": variant(data, "CoLLike", cuts, coarse),
    }
    show(in_turn(changed, rounds), "as it is")
    alone, scores = pairing(data)
    print(f"batch 64: the assignment {alone:.2f} ms, the scores before it {scores:.0f} ms")


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 15,
        sys.argv[2] if len(sys.argv) > 2 else "docstrings",
    )
