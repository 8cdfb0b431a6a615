"""Drawing images pixel by pixel: with a memory of what was seen, and a whole pass for each pixel.

    python benchmarks/pixel_sampling.py [turns]

The two draw the same images (a test holds them to it). PixelHVAE's decoder at the size of the MIM
thesis; the residual one with half the channels and 7 of the 13 layers; a small one for the digits.
A whole pass for each pixel takes seconds, so there are few turns.
"""

import sys

import torch
from turns import TURNS, Ratio, in_turn, ratio, show

from lvmlab.networks import PixelCNN, ResidualPixelCNN
from lvmlab.pixels import InOrder

SMALL = {"width": 16, "kernels": (5, 3, 3, 3, 3)}
HALF = {"width": 32, "kernels": (7, 7, 5, 5, 3, 3, 3)}


def ratios(turns: int = TURNS) -> list[Ratio]:
    torch.manual_seed(0)
    cases = [
        ("PixelHVAE, 1 image of 28 x 28", PixelCNN((1, 28, 28), (40, 40)), (40, 40), 1),
        ("residual, 1 image of 28 x 28", ResidualPixelCNN((1, 28, 28), 32, **HALF), (32,), 1),
        ("residual, 16 images of 8 x 8", ResidualPixelCNN((1, 8, 8), 8, **SMALL), (8,), 16),
    ]
    found = []
    for name, network, latents, rows in cases:
        z = [torch.randn(rows, dim) for dim in latents]
        with torch.no_grad():
            rivals = {
                f"{name}, cached": InOrder(network)(*z).sample,
                "a whole pass for each pixel": InOrder(network, cached=False)(*z).sample,
            }
        times = in_turn(rivals, max(turns // 5, 2))
        quick, slow = (sum(times[key]) / len(times[key]) / 1000 for key in rivals)
        note = f"{slow / quick:.1f} times faster, {quick:.2g} s for {slow:.2g} s"
        found.append(ratio(times, *rivals, note))
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    show(ratios(int(sys.argv[1]) if len(sys.argv) > 1 else TURNS))
