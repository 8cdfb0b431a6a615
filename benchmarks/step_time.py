"""What the grammar costs: a VAE step by `fit`, beside the same step written out by hand.

    python benchmarks/step_time.py [steps]

Both train the same 2-D model (64 hidden units, batch 128) with the same optimiser in turn, several
times; prints milliseconds a step (medians) and the ratio.
"""

import math
import statistics
import sys
import time

import torch
from torch import nn
from turns import TURNS, Ratio, in_turn, ratio

from lvmlab import Batches, Joint, descend, elbo, fit
from lvmlab.conditionals import Gaussian, StandardNormal
from lvmlab.networks import MLP


def data() -> torch.Tensor:
    return torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))


def by_fit(steps: int) -> float:
    p = Joint("p", {"z": StandardNormal(2), "x|z": Gaussian(MLP(2, 64, 2), scale=0.3)})
    q = Joint("q", {"x": None, "z|x": Gaussian(MLP(2, 64, 4), floor=0.05)})
    optimiser = torch.optim.Adam(nn.ModuleList([p, q]).parameters(), lr=3e-3)
    batches = Batches({"x": data()}, 128)
    started = time.perf_counter()
    fit(descend(elbo, p, q, optimiser), batches, steps=steps, progress=False, device="cpu")
    return time.perf_counter() - started


def by_hand(steps: int) -> float:
    decoder, encoder, x = MLP(2, 64, 2), MLP(2, 64, 4), data()
    optimiser = torch.optim.Adam(nn.ModuleList([decoder, encoder]).parameters(), lr=3e-3)
    constant = 0.5 * math.log(2 * math.pi)
    order = torch.randperm(2000)
    started = time.perf_counter()
    for step in range(steps):
        place = step % 16
        batch = x[order[place * 128 : (place + 1) * 128]]
        loc, raw = encoder(batch).chunk(2, -1)
        scale = 0.05 + nn.functional.softplus(raw)
        noise = torch.randn_like(loc)
        z = loc + scale * noise
        error = (batch - decoder(z)) / 0.3
        distortion = (0.5 * error**2 + math.log(0.3) + constant).sum(1)
        rate = (0.5 * z**2 - 0.5 * noise**2 - scale.log()).sum(1)
        loss = (distortion + rate).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    return time.perf_counter() - started


def ratios(turns: int = TURNS) -> list[Ratio]:
    rivals = {
        "VAE step by fit, 2-64-2": lambda: by_fit(200),
        "the same written by hand": lambda: by_hand(200),
    }
    return [ratio(in_turn(rivals, turns), *rivals)]


def main(steps: int) -> None:
    torch.set_num_threads(1)
    for road in (by_fit, by_hand):
        road(50)
    times = [(by_fit(steps), by_hand(steps)) for _ in range(7)]
    fitted, hand = (1000 * statistics.median(column) / steps for column in zip(*times, strict=True))
    print(f"fit {fitted:.3f} ms a step, by hand {hand:.3f} ms, ratio {fitted / hand:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
