"""What a step of GM-WAE on MNIST costs: the sum over ten components, MMD, and what spares time.

    OMP_NUM_THREADS=1 python benchmarks/mixture_step.py

Batches of 100, so that 1,000 codes with weights are decoded and compared with 100 draws. "sharp":
nine of ten weights of each row are below 0.001, as q(k|x) becomes in training.
"""

from collections.abc import Callable
from functools import partial

import torch
from turns import TURNS, Ratio, in_turn, ratio, show

from lvmlab import descend, summed_elbo, wasserstein
from lvmlab.devices import coarse_dtype
from lvmlab.models import equidistant_prior, mixture_images
from lvmlab.objectives import mmd

BATCH = {"x": torch.rand(100, 1, 28, 28)}


def step(
    objective: Callable = wasserstein, coarse: torch.dtype | None = None, sharp: bool = False
) -> Callable[[], object]:
    """One step of Adam on the networks of `gm-digits-10d`."""
    torch.manual_seed(0)
    p, q = mixture_images(
        (1, 28, 28), equidistant_prior(), decoder=(64, 32, 16), coarse=coarse
    )  # fmt: skip
    if sharp:
        last = q.factors["k|x"].network.layers[-1]  # type: ignore[union-attr]
        with torch.no_grad():
            last.bias[0] += 20  # type: ignore[index, operator]
    adam = torch.optim.Adam([v for j in (p, q) for v in j.parameters()], lr=0.0, fused=True)
    return partial(descend(objective, p, q, adam), BATCH)


def discrepancy() -> None:
    """MMD of 100 x 10 weighted points and 100 draws, with its gradients."""
    z, logits = torch.randn(100, 10, 10, requires_grad=True), torch.randn(100, 10)
    weights = logits.requires_grad_().softmax(1)
    mmd(z, torch.randn(100, 10), weights).backward()


def ratios(turns: int = TURNS) -> list[Ratio]:
    spare = partial(wasserstein, least=1e-3)
    rivals: dict[str, Callable[[], object]] = {
        "GM-WAE's step": step(),
        "GM-VAE's step": step(summed_elbo),
        "MMD, there and back": discrepancy,
        "weights below 0.001 left out, sharp": step(spare, sharp=True),
    }
    if (dtype := coarse_dtype()) is not None:
        rivals["decoder in bfloat16"] = step(coarse=dtype)
    times = in_turn(rivals, min(turns, 7))
    return [ratio(times, name, "GM-WAE's step") for name in rivals if name != "GM-WAE's step"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    show(ratios())
