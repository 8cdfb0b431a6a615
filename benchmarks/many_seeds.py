"""Ten seeds of a 20-unit VAE trained together, beside one: times and ratios within one run.

python benchmarks/many_seeds.py [steps]
"""

import statistics
import sys
import time

import torch
from torch import nn

from lvmlab import Batches, Joint, descend, elbo, fit
from lvmlab.conditionals import Gaussian, StandardNormal
from lvmlab.many import fit_many
from lvmlab.networks import MLP


def make(seed: int) -> tuple[Joint, Joint]:
    p = Joint("p", {"z": StandardNormal(2), "x|z": Gaussian(MLP(2, 20, 4))})
    return p, Joint("q", {"x": None, "z|x": Gaussian(MLP(2, 20, 4))})


def seconds(seeds: int, steps: int) -> float:
    x = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    started = time.perf_counter()
    fit_many(make, range(seeds), lambda s: Batches({"x": x}, 128, s), elbo, steps=steps)
    return time.perf_counter() - started


def alone(steps: int) -> float:
    x = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    p, q = make(0)
    adam = torch.optim.Adam(nn.ModuleList([p, q]).parameters(), lr=1e-3)
    started = time.perf_counter()
    fit(descend(elbo, p, q, adam), Batches({"x": x}, 128), steps=steps, device="cpu")
    return time.perf_counter() - started


def main(steps: int) -> None:
    torch.set_num_threads(1)
    seconds(10, 20)
    times = [(alone(steps), seconds(1, steps), seconds(10, steps)) for _ in range(5)]
    fitted, one, ten = (statistics.median(c) / steps * 1000 for c in zip(*times, strict=True))
    print(f"ms a step: fit {fitted:.2f}, fit_many of one {one:.2f}, of ten {ten:.2f}")
    print(f"ten cost {ten / fitted:.2f} times one by fit, {ten / one:.2f} times one by fit_many")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
