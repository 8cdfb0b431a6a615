"""The collapse report beside the training that made the model: 10,000 rows, a small VAE.

python benchmarks/report_time.py
"""

import time

import torch
from torch import nn
from turns import TURNS, Ratio, in_turn, ratio, show

from lvmlab import Batches, descend, elbo, fit, report
from lvmlab.datasets import toys
from lvmlab.models import dense_gaussian
from lvmlab.train import evaluate

ROWS, EPOCHS = 10_000, 10


def ratios(turns: int = TURNS) -> list[Ratio]:
    torch.manual_seed(0)
    x = toys.five_blobs().sample(ROWS, seed=10_000)["x"]
    p, q = dense_gaussian(2, 2, 64, floor=0.01)
    adam = torch.optim.Adam(nn.ModuleList([p, q]).parameters(), lr=3e-3)
    step, stream = descend(elbo, p, q, adam), Batches({"x": x}, 128)
    fit(step, stream, epochs=EPOCHS, progress=False, device="cpu")
    started = time.perf_counter()
    report(p, q, x)
    seconds = f"{time.perf_counter() - started:.0f} s on the clock"
    training = f"training for {EPOCHS} epochs"
    rivals = {
        f"report on {ROWS:,} rows": lambda: report(p, q, x),
        training: lambda: fit(step, stream, epochs=EPOCHS, progress=False, device="cpu"),
        "one pass of the ELBO": lambda: evaluate(elbo, p, q, Batches({"x": x}, 500), "cpu"),
    }
    times = in_turn(rivals, 5)
    first = next(iter(rivals))
    notes = {training: seconds, "one pass of the ELBO": ""}
    return [ratio(times, first, other, note) for other, note in notes.items()]


if __name__ == "__main__":
    torch.set_num_threads(1)
    show(ratios())
