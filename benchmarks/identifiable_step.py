"""What a step of the identifiable models costs: iVAE and VaDE alone, and five seeds together.

    OMP_NUM_THREADS=1 python benchmarks/identifiable_step.py

Data, networks and batches are those of `ica-synthetic` at 20 segments x 1000. The note says how
long 20,000 steps would take at the median time of a step.
"""

import statistics
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import torch
from turns import TURNS, Ratio, in_turn, ratio, show

from lvmlab import Batches, descend, elbo, fit
from lvmlab.studies import identifiability, identifiability_runs
from lvmlab.studies.ledger import sizes

STEPS = 100  # a run
MANY = 5  # seeds
LONG = 20_000


def alone(kind: str, data: identifiability_runs.Mixed, size: SimpleNamespace) -> None:
    """`STEPS` steps of one seed by `fit`."""
    torch.manual_seed(0)
    p, q = identifiability_runs.model(kind, size)
    values = {name: data.train[name] for name in ("x", "u")}
    adam = torch.optim.Adam([v for j in (p, q) for v in j.parameters()], lr=size.lr, fused=True)
    batches = Batches(values, identifiability_runs.BATCH, drop_last=True)
    fit(descend(elbo, p, q, adam), batches, steps=STEPS, device="cpu")


def ratios(turns: int = TURNS) -> list[Ratio]:
    size = SimpleNamespace(**vars(sizes(identifiability.SIZES["ica-synthetic"], "lesson")))
    size.steps = STEPS
    data = identifiability_runs.mixed(layers=2, per_segment=1000)
    together = partial(identifiability_runs.trained, data=data, size=size, seeds=[*range(MANY)])
    rivals: dict[str, Callable[[], object]] = {}
    for kind in ("iVAE", "VaDE"):
        rivals[kind] = partial(alone, kind, data, size)
        rivals[f"{kind}, {MANY} seeds together"] = partial(together, kind)
    times = in_turn(rivals, min(turns, 7))
    long = {name: statistics.median(ms) / STEPS * LONG / 1000 for name, ms in times.items()}
    many = f", {MANY} seeds together"
    pairs = [("VaDE", "iVAE"), ("iVAE" + many, "iVAE"), ("VaDE" + many, "VaDE")]
    return [
        ratio(
            times, name, beside, f"{LONG:,} steps: {long[name]:.0f} s beside {long[beside]:.0f} s"
        )
        for name, beside in pairs
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    show(ratios())
