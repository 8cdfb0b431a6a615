"""CoLLike's assignment: what the solver costs (Figure 5), and what small batches lose.

The paper leaves open how far the local optimum of matching by batches lies from the global one
(section 4): `collike-minibatch-digits` measures it where all rows can be matched at once.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lvmlab import datasets
from lvmlab.conditionals import Assignment, Components, Proportions
from lvmlab.diagnostics import categorical_information, hungarian_accuracy
from lvmlab.joint import Batch, Joint
from lvmlab.models import text_categories
from lvmlab.objectives import (
    best_pairing,
    complete_likelihood,
    exact_posterior,
    marginal_likelihood,
    pair_scores,
)
from lvmlab.steps import descend, expect_then_maximise, match
from lvmlab.studies.compare import Claim
from lvmlab.studies.ledger import Cell, Row, measure, sizes

BATCHES = (2, 8, 32, 128, 512)

# rows: sizes of the matrix, or images; tokens: length of the texts of a step; minutes: on one core
# fmt: off
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "collike-lap-timing": {
        "smoke": {"seeds": 2, "rows": (64, 256), "tokens": 4, "repeats": 3, "minutes": 0.1},
        "lesson": {"seeds": 3, "rows": (64, 256, 512, 1024), "tokens": 64, "repeats": 5,
                   "minutes": 0.5},
        "paper": {"seeds": 10, "rows": (64, 128, 256, 512, 1024, 2048, 4096), "tokens": 192,
                  "repeats": 5, "minutes": 12},
    },
    "collike-minibatch-digits": {
        "smoke": {"seeds": 2, "rows": 300, "batches": (2, 32), "sweeps": 4, "minutes": 0.1},
        "lesson": {"seeds": 5, "rows": 1797, "batches": (2, 32, 512), "sweeps": 10, "minutes": 2},
        "paper": {"seeds": 10, "rows": 1797, "batches": BATCHES, "sweeps": 40, "minutes": 25},
    },
}
# fmt: on

STEP = "training step"
LARGE = ("1024 rows", "2048 rows", "4096 rows")
EVEN, DRAWN = "even counts of z", "z drawn from the prior"
WHOLE = "CoLLike, all rows"

CLAIMS = {
    "collike-lap-timing": (
        Claim("Section 4", "random scores", "local_slope", "is", 3.0, LARGE),  # O(B^3)
        Claim("Figure 5", "random scores", "milliseconds", "below", STEP, ("64 rows",)),
        Claim("Figure 5", "ten values", "milliseconds", "below", STEP, ("64 rows",)),
    ),
    "collike-minibatch-digits": tuple(
        Claim("Section 4", "CoLLike, batches of 2", metric, relation, WHOLE, (EVEN,))
        for metric, relation in (("pair_log_likelihood", "below"), ("pairing_gap", "above"))
    ),
}


# -- what the solver costs


def collike_lap_timing(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """Processor time of the exact assignment against its size, beside a training step (Figure 5).

    `local_slope` is log2 of the time over that of half as many rows: 3 for a cubic solver. Scores
    are normal numbers, or ten distinct columns: the ties of a discrete latent. The step is a
    supervised one of the paper's language model on 64 texts, without the passes for the scores;
    `solver_percent` is the solver's time for 64 rows in percent of it.
    """
    size = sizes(SIZES["collike-lap-timing"], preset)
    kinds = {"random scores": _random_scores, "ten values": _ten_values}
    cells = [
        Cell(f"{rows} rows", name, "none", partial(_solver, scores, rows, size.repeats))
        for rows in size.rows
        for name, scores in kinds.items()
    ]
    cells.append(Cell("64 rows", STEP, "none", partial(_step, size.tokens, size.repeats)))
    return measure("collike-lap-timing", preset, size.seeds if seeds is None else seeds, cells)


def _solver(
    scores: Callable[[int, torch.Generator], Tensor], rows: int, repeats: int, seeds: list[int]
) -> list[dict[str, float]]:
    found = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        whole, half = (
            _milliseconds([partial(best_pairing, scores(n, generator)) for _ in range(repeats)])
            for n in (rows, rows // 2)
        )
        found.append({"milliseconds": whole, "local_slope": math.log2(whole / half)})
    return found


def _step(tokens: int, repeats: int, seeds: list[int]) -> list[dict[str, float]]:
    found = []
    for seed in seeds:
        torch.manual_seed(seed)
        p, q = text_categories(torch.randint(4, (64,)), length=tokens)
        batch = {"x": torch.randint(1, 4000, (64, tokens)), "index": torch.arange(64)}
        optimiser = torch.optim.Adam(p.parameters(), lr=2e-4)
        step = partial(descend(complete_likelihood, p, q, optimiser), batch)
        generator = torch.Generator().manual_seed(10_000 + seed)
        solver = [partial(best_pairing, _ten_values(64, generator)) for _ in range(10 * repeats)]
        spent = _milliseconds([step] * (repeats + 1))
        found.append({"milliseconds": spent, "solver_percent": 100 * _milliseconds(solver) / spent})
    return found


def _random_scores(rows: int, generator: torch.Generator) -> Tensor:
    return torch.randn(rows, rows, generator=generator)


def _ten_values(rows: int, generator: torch.Generator) -> Tensor:
    drawn = torch.randint(10, (rows,), generator=generator)
    return torch.randn(rows, 10, generator=generator)[:, drawn]


def _milliseconds(calls: Sequence[Callable[[], Any]]) -> float:
    """The median processor time of a call, after one that is not counted."""
    calls[0]()
    spent = []
    for call in calls:
        started = time.process_time()
        call()
        spent.append(time.process_time() - started)
    return 1000 * statistics.median(spent)


# -- what small batches lose


def collike_minibatch_digits(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """Ten spherical Gaussians on the digits, matched in batches of several sizes (Section 4).

    A sweep matches every row once, in random batches, then sets means and the common scale to
    their best values. All start from the same pairing at random, EM from the means it makes.
    Every value of z is stored equally often, once as often as the prior happened to draw it.
    `pairing_gap`: what matching all rows at once would still gain, nats an image.
    """
    size = sizes(SIZES["collike-minibatch-digits"], preset)
    objectives: dict[str, int | None] = {f"CoLLike, batches of {b}": b for b in size.batches}
    objectives |= {WHOLE: size.rows, "EM": None}
    cells = [
        Cell(EVEN, name, "digits", partial(_digits, size.rows, size.sweeps, batch, True))
        for name, batch in objectives.items()
    ]
    cells.append(
        Cell(DRAWN, WHOLE, "digits", partial(_digits, size.rows, size.sweeps, size.rows, False))
    )
    study = "collike-minibatch-digits"
    return measure(study, preset, size.seeds if seeds is None else seeds, cells)


def _digits(
    rows: int, sweeps: int, batch: int | None, even: bool, seeds: list[int]
) -> list[dict[str, float]]:
    return [mixture_of_digits(rows, sweeps, batch, even, seed) for seed in seeds]


def mixture_of_digits(
    rows: int, sweeps: int, batch: int | None, even: bool, seed: int
) -> dict[str, float]:
    """One mixture, matched in batches of so many rows; by EM when None.

    Nats an image: `log_likelihood`, of the mixture; `pair_log_likelihood`, of the stored pairs;
    `pairing_gap`; `aggregated_kl` of the exact posteriors. `accuracy_percent` is Hungarian, of the
    posterior's best value.
    """
    digits = datasets.load("digits", "all").values
    generator = torch.Generator().manual_seed(10_000 + seed)
    chosen = torch.randperm(len(digits["x"]), generator=generator)[:rows]
    x, label = digits["x"][chosen].flatten(1), digits["label"][chosen]
    drawn = torch.randint(10, (len(x),), generator=generator)
    if even:
        drawn = (torch.arange(len(x)) % 10)[torch.randperm(len(x), generator=generator)]
    assignment, components = Assignment(drawn), Components(torch.zeros(10, 64), 1.0)
    p = Joint("p", {"z": Proportions(10), "x|z": components})
    components.maximise(x, F.one_hot(drawn, 10).to(x))
    data: Batch = {"x": x}
    for _ in range(sweeps):
        if batch is None:
            expect_then_maximise(p, exact_posterior)(data)
            continue
        for index in torch.randperm(len(x), generator=generator).split(batch):
            match(p, "z", assignment, {"x": x[index], "index": index})
        components.maximise(x, F.one_hot(assignment.latents, 10).to(x))
    with torch.no_grad():
        posterior = exact_posterior(p, data)
        found = {
            "log_likelihood": -marginal_likelihood(p, p, data).loss.item(),
            "accuracy_percent": 100 * hungarian_accuracy(posterior, label).accuracy,
            "aggregated_kl": categorical_information(posterior).aggregated_kl,
        }
        if batch is not None:
            scores = pair_scores(p, data, {"z": assignment.latents})
            best = scores[torch.arange(len(x)), best_pairing(scores)].mean().item()
            found["pair_log_likelihood"] = scores.diagonal().mean().item()
            found["pairing_gap"] = best - found["pair_log_likelihood"]
    return found
