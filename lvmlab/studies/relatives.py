"""CoLLike's relatives (section 5 and appendix C): older objectives that are the same matching.

Each cell computes a relative twice, by the complete likelihood and by its own textbook road, and
reports the largest gap between them beside a number that shows what the matching is worth.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lvmlab import datasets
from lvmlab.conditionals import Assignment, Components, Gaussian, Proportions
from lvmlab.diagnostics import knn_accuracy
from lvmlab.distributions import Delta
from lvmlab.joint import Joint
from lvmlab.networks import MLP
from lvmlab.objectives import (
    best_pairing,
    complete_likelihood,
    pair_scores,
    quota_posterior,
)
from lvmlab.steps import descend, match, match_then_descend
from lvmlab.studies.compare import Claim
from lvmlab.studies.ledger import Cell, Row, measure, sizes
from lvmlab.studies.transport import plan, sinkhorn, squares, wasserstein
from lvmlab.train import Batches, fit

SCALE = 0.5  # of every Gaussian below: a common factor of all costs
SPHERE = 8  # dimensions of the targets on the sphere
TONE = 32  # samples of a tone

# rows: of digits or points; steps: of a network's training; minutes: on one core
# fmt: off
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "collike-relatives": {
        "smoke": {"seeds": 2, "rows": 60, "steps": 40, "minutes": 0.1},
        "lesson": {"seeds": 3, "rows": 300, "steps": 1000, "minutes": 2},
        "paper": {"seeds": 10, "rows": 1000, "steps": 4000, "minutes": 40},
    },
}
# fmt: on

KMEANS, PIT, NAT = "constrained k-means", "permutation invariant training", "noise as target"
W2, SINKHORN = "Wasserstein-2", "Sinkhorn"
EPSILONS = (10.0, 1.0, 0.1)

CLAIMS = {
    "collike-relatives": (
        Claim("Section 5", "CoLLike", "unexplained_percent", "below", "fixed order", (PIT,)),
        Claim("Section 5", "CoLLike", "knn5_accuracy", "above", "fixed targets", (NAT,)),
        Claim("Appendix C", "CoLLike", "wasserstein2", "below", "fixed pairs", (W2,)),
        *(
            Claim("Section 5", f"epsilon {low:g}", name, "below", f"epsilon {high:g}", (SINKHORN,))
            for high, low in pairwise(EPSILONS)
            for name in ("score_gap", "divergence_gap")
        ),
    )
}


def collike_relatives(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """Five objectives that are CoLLike's matching, each by two roads (Section 5, appendix C).

    `largest_gap` is the largest difference between the two, relative to the larger number.
    """
    size = sizes(SIZES["collike-relatives"], preset)
    known: list[tuple[str, str, str, Callable[[int], dict[str, float]]]] = [
        (KMEANS, "CoLLike", "digits", partial(balanced_kmeans, size.rows)),
        (KMEANS, "k-means", "digits", partial(free_kmeans, size.rows)),
        (PIT, "CoLLike", "two_tones", partial(separation, size.steps, True)),
        (PIT, "fixed order", "two_tones", partial(separation, size.steps, False)),
        (NAT, "CoLLike", "digits", partial(noise_as_target, size.steps, True)),
        (NAT, "fixed targets", "digits", partial(noise_as_target, size.steps, False)),
        (NAT, "untrained", "digits", partial(noise_as_target, 0, False)),
        (W2, "CoLLike", "five_blobs", partial(wasserstein, size.rows, size.steps, True)),
        (W2, "fixed pairs", "five_blobs", partial(wasserstein, size.rows, size.steps, False)),
    ]
    known += [
        (SINKHORN, f"epsilon {e:g}", "five_blobs", partial(sinkhorn, min(size.rows, 300), e))
        for e in EPSILONS
    ]
    cells = [
        Cell(system, objective, data, partial(_each, one)) for system, objective, data, one in known
    ]
    return measure("collike-relatives", preset, size.seeds if seeds is None else seeds, cells)


def _each(one: Callable[[int], dict[str, float]], seeds: list[int]) -> list[dict[str, float]]:
    return [one(seed) for seed in seeds]


# -- constrained k-means


def balanced_kmeans(rows: int, seed: int, iterations: int = 8) -> dict[str, float]:
    """Ten clusters of equal size: CoLLike's two steps beside balanced k-means, step by step.

    The latter solves each assignment as a linear program and takes plain means (Bennett et al.
    2000, with sizes that add up to all rows). `cost` is the mean squared distance to the centre.
    """
    x = _digits(rows, seed)
    centres = x[:10].double().numpy()
    components = Components(x[:10], SCALE, learned_scale=False)
    p = Joint("p", {"z": Proportions(10), "x|z": components})
    gap, cost = 0.0, 0.0
    for _ in range(iterations):
        weights = quota_posterior(p, {"x": x})
        components.maximise(x, weights)
        shares = plan(squares(x.double().numpy(), centres), weights.sum(0).numpy())
        centres = shares.T @ x.double().numpy() / shares.sum(0)[:, None]
        ours = components.means.detach().double().numpy()
        cost = float((weights.numpy() * squares(x.double().numpy(), ours)).sum() / len(x))
        other = float((shares * squares(x.double().numpy(), centres)).sum() / len(x))
        gap = max(gap, abs(cost - other) / other)
    return {"cost": cost, "largest_gap": gap}


def free_kmeans(rows: int, seed: int, iterations: int = 8) -> dict[str, float]:
    """The same start without quotas: each row goes to the nearest centre (Lloyd)."""
    from sklearn.cluster import KMeans

    x = _digits(rows, seed).double().numpy()
    found = KMeans(10, init=x[:10], n_init=1, max_iter=iterations, tol=0, algorithm="lloyd")
    with _no_warnings():
        return {"cost": float(found.fit(x).inertia_ / len(x))}


# -- permutation invariant training


def separation(steps: int, matched: bool, seed: int) -> dict[str, float]:
    """Two sine tones from their sum: a network with two outputs that carry no names.

    The tones are the rows, the sum is side information and z says which output is meant; each pair
    of tones is matched anew at every step. `largest_gap` compares the loss with the textbook
    formula, the smaller of two errors. `unexplained_percent` is the squared error of fresh tones in
    the better order, over their power.
    """
    torch.manual_seed(seed)
    body, rows = MLP(TONE, 128, 128, 2 * TONE), torch.arange(64)
    p = Joint("p", {"z": Proportions(2), "x|z,total": Gaussian(_OneOfTwo(body), scale=SCALE)})

    def paired(x: Tensor, total: Tensor) -> Delta:
        if not matched:
            return Delta(rows % 2)
        scores = pair_scores(p, {"x": x, "total": total}, {"z": rows % 2})
        return Delta(torch.cat([best_pairing(two) for two in scores[:, :2].split(2)]))

    q = Joint("q", {"x": None, "total": None, "z|x,total": paired})
    step = descend(complete_likelihood, p, q, torch.optim.Adam(body.parameters(), lr=1e-3))
    constant = 0.5 * TONE * math.log(2 * math.pi * SCALE**2) + math.log(2)
    gap, generator = 0.0, torch.Generator().manual_seed(10_000 + seed)
    for _ in range(steps):
        batch = tones(32, generator)
        with torch.no_grad():
            error = _permutation_invariant(body(batch["total"][::2]), batch["x"])
        loss = step(batch).loss.item()
        by_formula = error.mean().item() / 2 / (2 * SCALE**2) + constant
        gap = max(gap, abs(loss - by_formula) / abs(by_formula))
    batch = tones(1000, generator)
    with torch.no_grad():
        error = _permutation_invariant(body(batch["total"][::2]), batch["x"])
    share = 100 * error.sum() / batch["x"].square().sum()
    return {"unexplained_percent": share.item()} | ({"largest_gap": gap} if matched else {})


def tones(pairs: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Rows 2i and 2i + 1 are two tones of 1 to 8 periods, `total` is their sum, twice the same."""
    draw = torch.rand(2 * pairs, 2, generator=generator)
    time = torch.linspace(0, 1, TONE)
    x = torch.sin(2 * math.pi * ((1 + 7 * draw[:, :1]) * time + draw[:, 1:]))
    total = x.unflatten(0, (pairs, 2)).sum(1).repeat_interleave(2, 0)
    return {"x": x, "total": total}


class _OneOfTwo(nn.Module):
    """The estimate of source z from the sum of both."""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body

    def forward(self, z: Tensor, total: Tensor) -> Tensor:
        return self.body(total).unflatten(1, (2, TONE))[torch.arange(len(z)), z]


def _permutation_invariant(outputs: Tensor, x: Tensor) -> Tensor:
    """The textbook loss of each pair: the smaller squared error of both orders, (pairs,)."""
    estimates, sources = outputs.unflatten(1, (2, TONE)), x.unflatten(0, (-1, 2))
    one = (estimates - sources).square().sum((1, 2))
    return torch.minimum(one, (estimates.flip(1) - sources).square().sum((1, 2)))


# -- noise as target


def noise_as_target(steps: int, matched: bool, seed: int) -> dict[str, float]:
    """An encoder of digits whose codes are matched with points drawn once on the unit sphere.

    p(x) p(z|x) with p(z|x) Gaussian around the code: the reverse factorisation. `largest_gap`: the
    least total distance, by CoLLike's match, against the largest inner product. `knn5_accuracy` is
    that of the codes, from train to test; `inner_product` the mean over the pairs of training.
    """
    train, test = (datasets.load("digits", split).values for split in ("train", "test"))
    torch.manual_seed(seed)
    body = nn.Sequential(MLP(64, 128, SPHERE), _Unit())
    p = Joint("p", {"x": None, "z|x": Gaussian(body, scale=SCALE)})
    generator = torch.Generator().manual_seed(10_000 + seed)
    targets = F.normalize(torch.randn(len(train["x"]), SPHERE, generator=generator), dim=1)
    assignment = Assignment(targets)
    q = Joint("q", {"x": None, "z|index": assignment})
    optimiser = torch.optim.Adam(body.parameters(), lr=1e-3)
    batches = Batches({"x": train["x"].flatten(1)}, 128, seed)
    step = match_then_descend(p, q, optimiser) if matched else None
    step = step or descend(complete_likelihood, p, q, optimiser)
    if steps:
        fit(step, batches, steps=steps, progress=False, device="cpu")
    gap, batch = 0.0, batches.at(0)
    with torch.no_grad():
        codes, tests = (body(part["x"].flatten(1)) for part in (train, test))
        here, stored = codes[batch["index"]], assignment.latents[batch["index"]]
        nearest = (here - match(p, "z", assignment, batch)).square().sum().item()
        products = here.double() @ stored.double().T
        largest = products[torch.arange(len(here)), best_pairing(products)].sum().item()
        gap = abs(nearest - (2 * len(here) - 2 * largest)) / nearest
    found = {
        "knn5_accuracy": knn_accuracy(codes, train["label"], tests, test["label"], 5),
        "inner_product": (codes * assignment.latents).sum(1).mean().item(),
    }
    return found | ({"largest_gap": gap} if matched else {})


class _Unit(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=1)


# -- small things


def _digits(rows: int, seed: int) -> Tensor:
    x = datasets.load("digits", "all")["x"].flatten(1)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(10_000 + seed))
    return x[order[:rows]]


def _no_warnings() -> Any:
    """Sklearn warns when k-means ends before it has converged, which is what is asked here."""
    import warnings

    return warnings.catch_warnings(action="ignore")
