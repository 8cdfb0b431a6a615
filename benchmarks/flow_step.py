"""What a step of the image flow costs: CoLLike and MaL beside a supervised step.

    python benchmarks/flow_step.py [digits | mnist | cifar10] [rounds]

All steps are made in turn within each round (one thread, batch 64, ten categories), so that a busy
machine slows them alike; prints medians and ratios, and the time of the flow's inverse over that of
its forward direction. Seconds are of the processor, not of the clock on the wall.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch

from lvmlab import complete_likelihood, descend, marginal_likelihood, match_then_descend
from lvmlab.models import flow_categories

SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
BATCH = 64


def seconds(act: Callable[[], object]) -> float:
    started = time.process_time()
    act()
    return time.process_time() - started


def main(dataset: str, rounds: int) -> None:
    torch.set_num_threads(1)
    shape = SHAPES[dataset]
    p, q = flow_categories(shape, BATCH)
    adam = torch.optim.Adam(p.parameters(), lr=1e-4, fused=True)
    batch = {"x": torch.rand(BATCH, *shape), "index": torch.arange(BATCH)}
    steps = {
        "supervised": descend(complete_likelihood, p, q, adam),
        "CoLLike": match_then_descend(p, q, adam),
        "CoLLike, bf16 match": match_then_descend(p, q, adam, autocast=torch.bfloat16),
        "MaL": descend(marginal_likelihood, p, q, adam),
    }
    flow, z = p.factors["x|z"].bijection, torch.zeros(BATCH, dtype=torch.long)
    y, _ = flow(batch["x"], z)

    def forward() -> None:
        with torch.no_grad():
            flow(batch["x"], z)

    def inverse() -> None:
        with torch.no_grad():
            flow.inverse(y, z)

    acts = {name: lambda step=step: step(batch) for name, step in steps.items()}
    acts |= {"forward": forward, "inverse": inverse}
    for act in acts.values():
        act()
    times: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(rounds):
        for name, act in acts.items():
            times[name].append(seconds(act))
    found = {name: statistics.median(values) for name, values in times.items()}
    print(f"{dataset}, {sum(v.numel() for v in p.parameters())} parameters, batch {BATCH}")
    for name in steps:
        print(f"  {name:<20} {found[name]:.3f} s, {found[name] / found['supervised']:.2f} x")
    print(f"  CoLLike over MaL     {found['CoLLike'] / found['MaL']:.2f}")
    print(f"  inverse over forward {found['inverse'] / found['forward']:.2f}")


if __name__ == "__main__":
    dataset = sys.argv[1] if len(sys.argv) > 1 else "digits"
    main(dataset, int(sys.argv[2]) if len(sys.argv) > 2 else 9)
