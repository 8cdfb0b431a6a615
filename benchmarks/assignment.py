"""What the assignment costs beside a training step, and K columns beside B columns.

    OMP_NUM_THREADS=1 python benchmarks/assignment.py

Prints medians over turns in which all rivals run once, in milliseconds of this process: the parts
of CoLLike's step at batch 64 for a small decoder of images and for the language model of the paper,
then the score pass with K distinct latents against 64 distinct ones.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from scipy.optimize import linear_sum_assignment
from turns import Ratio, in_turn, ratio

from lvmlab import Joint, complete_likelihood, descend, match_then_descend
from lvmlab.conditionals import Assignment, Bernoulli, Proportions
from lvmlab.models import text_categories
from lvmlab.networks import MLP
from lvmlab.objectives import best_pairing, pair_scores

BATCH, TURNS = 64, 9


def images(values: int = 10) -> tuple[Joint, Joint, dict[str, torch.Tensor]]:
    """p(x|k) of 784 grey pixels by two hidden layers of 512, side by side with an embedding."""
    network = torch.nn.Sequential(torch.nn.Embedding(values, 64), MLP(64, 512, 512, 784))
    p = Joint("p", {"z": Proportions(values), "x|z": Bernoulli(network)})
    q = Joint("q", {"x": None, "z|index": Assignment(torch.randint(values, (BATCH,)))})
    return p, q, {"x": torch.rand(BATCH, 784), "index": torch.arange(BATCH)}


def texts(values: int = 4, tokens: int = 64) -> tuple[Joint, Joint, dict[str, torch.Tensor]]:
    """The Transformer of the paper on 64 texts."""
    p, q = text_categories(torch.randint(values, (BATCH,)), values, length=tokens)
    batch = {"x": torch.randint(1, 4000, (BATCH, tokens)), "index": torch.arange(BATCH)}
    return p, q, batch


def medians(rivals: dict[str, Callable[[], object]], turns: int = TURNS) -> dict[str, float]:
    """Milliseconds of each, every turn all of them."""
    spent: dict[str, list[float]] = {name: [] for name in rivals}
    for turn in range(turns + 1):
        for name, call in rivals.items():
            started = time.process_time()
            call()
            if turn:  # the first is not counted
                spent[name].append(1000 * (time.process_time() - started))
    return {name: statistics.median(times) for name, times in spent.items()}


def parts(p: Joint, q: Joint, batch: dict[str, torch.Tensor]) -> None:
    optimiser = torch.optim.Adam(p.parameters(), lr=1e-4)
    down = descend(complete_likelihood, p, q, optimiser)
    stored, data = {"z": q.factors["z|index"].latents}, {"x": batch["x"]}  # type: ignore[union-attr]
    scores = pair_scores(p, data, stored)
    values = len(stored["z"].unique())
    found = medians(
        {
            "assignment": lambda: [best_pairing(scores) for _ in range(20)],
            f"scores of {values} columns": lambda: pair_scores(p, data, stored),
            "supervised step": lambda: down(batch),
        }
    )
    found["assignment"] /= 20
    whole = sum(found.values())
    for name, spent in found.items():
        print(f"  {name:<22} {spent:9.3f} ms  {100 * spent / whole:6.2f} % of the whole step")
    print(f"  whole step / supervised step {whole / found['supervised step']:.2f}")


def columns() -> None:
    """The same texts and Transformer, with 4 distinct latents and with 64."""
    rivals: dict[str, Callable[[], object]] = {}
    for values in (4, BATCH):
        p, _, batch = texts(BATCH, tokens=8)
        z = torch.arange(BATCH) % values
        rivals[f"{values} columns"] = lambda p=p, x=batch["x"], z=z: pair_scores(  # type: ignore[misc]
            p, {"x": x}, {"z": z}
        )
    found = medians(rivals, turns=3)
    for name, spent in found.items():
        print(f"  {name:<22} {spent:9.1f} ms")
    print(f"  ratio {found['64 columns'] / found['4 columns']:.1f} (64 / 4 = 16)")


def ratios(turns: int = TURNS) -> list[Ratio]:
    """The match beside the step it belongs to, and `best_pairing` beside scipy's bare solver."""
    found = []
    for name, made in {"images, 784-512-512": images, "texts of 64 tokens": texts}.items():
        p, q, batch = made()
        adam = torch.optim.Adam(p.parameters(), lr=1e-4)
        matched, given = match_then_descend(p, q, adam), descend(complete_likelihood, p, q, adam)
        rivals = {
            f"match, then descend, {name}": partial(matched, batch),
            "supervised step": partial(given, batch),
        }
        found.append(ratio(in_turn(rivals, turns), *rivals))
    for rows, values in ((BATCH, BATCH), (1024, 1024), (1024, 10)):
        columns = torch.arange(rows) % values
        scores = torch.randn(rows, values, generator=torch.Generator().manual_seed(0))[:, columns]
        rivals = {
            f"best_pairing, {rows} rows, {values} latents": partial(best_pairing, scores),
            "scipy's solver alone": partial(linear_sum_assignment, scores.numpy(), maximize=True),
        }
        found.append(ratio(in_turn(rivals, turns, 50 if rows == BATCH else 1), *rivals))
    return found


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("images, 784-512-512 decoder, 10 values (one call a column)")
    parts(*images())
    print("texts of 64 tokens, 2-layer Transformer, 4 values")
    parts(*texts())
    print("scores of 64 texts of 8 tokens")
    columns()


if __name__ == "__main__":
    main()
