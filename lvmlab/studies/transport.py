"""CoLLike and optimal transport: Wasserstein-2 and Sinkhorn, by two roads each (`relatives`)."""

import math

import numpy as np
import torch
from torch import Tensor

from lvmlab.conditionals import Assignment, Gaussian
from lvmlab.datasets import toys
from lvmlab.joint import Joint
from lvmlab.networks import MLP
from lvmlab.objectives import best_pairing, complete_likelihood, pair_scores, soft_pairing
from lvmlab.steps import descend, match_then_descend
from lvmlab.train import Batches, fit

SCALE = 0.5  # of every p(x|z)


def wasserstein(points: int, steps: int, matched: bool, seed: int) -> dict[str, float]:
    """A deterministic decoder of uniform z, trained by matching: L_CL is -N W2^2 / (2 s^2) + const.

    `largest_gap` compares the two after training: W2^2 by sorting one coordinate, and by a linear
    program in the plane. `wasserstein2` is W2 of fresh points of the decoder to fresh data.
    """
    points = min(points, 300)
    mixture = toys.five_blobs(2)
    torch.manual_seed(seed)
    body = MLP(2, 64, 64, 2)
    p = Joint("p", {"z": lambda: _flat(2), "x|z": Gaussian(body, scale=SCALE)})
    generator = torch.Generator().manual_seed(10_000 + seed)
    assignment = Assignment(torch.rand(1000, 2, generator=generator))
    q = Joint("q", {"x": None, "z|index": assignment})
    optimiser = torch.optim.Adam(body.parameters(), lr=3e-3)
    step = match_then_descend(p, q, optimiser) if matched else None
    step = step or descend(complete_likelihood, p, q, optimiser)
    x = mixture.sample(1000, seed=20_000 + seed)["x"]
    fit(step, Batches({"x": x}, 100, seed), steps=steps, progress=False, device="cpu")
    x = mixture.sample(points, seed=30_000 + seed)["x"]
    z = torch.rand(points, 2, generator=generator)
    with torch.no_grad():
        fx = body(z)
    plane = _w2_squared(x.double().numpy(), fx.double().numpy())
    found = {"wasserstein2": math.sqrt(plane)}
    if matched:
        line = float(((x[:, 0].sort().values - fx[:, 0].sort().values) ** 2).mean())
        one = Joint("p", {"z": lambda: _flat(1), "x|z": Gaussian(lambda z: z, scale=SCALE)})
        gaps = (_w2_gap(p, x, z, plane), _w2_gap(one, x[:, :1], fx[:, :1], line))
        found["largest_gap"] = max(gaps)
    return found


def _w2_gap(p: Joint, x: Tensor, z: Tensor, squared: float) -> float:
    """How far the best complete likelihood lies from -N W2^2 / (2 s^2) + const, relatively."""
    scores = pair_scores(p, {"x": x}, {"z": z})
    best = scores[torch.arange(len(x)), best_pairing(scores)].double().sum().item()
    dim = x.shape[1]
    by_distance = -len(x) * (
        squared / (2 * SCALE**2) + 0.5 * dim * math.log(2 * math.pi * SCALE**2)
    )
    return abs(best - by_distance) / abs(by_distance)


def _flat(dim: int) -> torch.distributions.Distribution:
    """A prior of constant density one, wherever z lies: its latents are given, never drawn."""
    return _Flat(torch.Size([]), torch.Size([dim]), validate_args=False)


class _Flat(torch.distributions.Distribution):
    arg_constraints: dict = {}  # noqa: RUF012 - torch's own name and form

    def log_prob(self, value: Tensor) -> Tensor:
        return value.new_zeros(value.shape[:-1])


def sinkhorn(points: int, epsilon: float, seed: int) -> dict[str, float]:
    """The entropic pairing of codes and prior, whose limit is the exact one.

    Codes: points of five blobs, centred, of unit scale. `score_gap`: nats a row by which the soft
    pairing stays below the best one; `divergence_gap`: how far the Sinkhorn divergence lies from
    W2^2, relatively (Genevay et al. 2018).
    """
    codes = toys.five_blobs(2).sample(points, seed=20_000 + seed)["x"].double()
    codes = (codes - codes.mean(0)) / codes.std()
    prior = torch.randn(
        points, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    scores = -torch.cdist(codes, prior).square()
    exact = scores[torch.arange(points), best_pairing(scores)].mean().item()
    soft = (soft_pairing(scores, epsilon, 1e-6, 500) * scores).sum().item() / points
    between, own, other = (
        entropic_cost(a, b, epsilon) for a, b in ((codes, prior), (codes, codes), (prior, prior))
    )
    divergence = between - (own + other) / 2
    return {"score_gap": exact - soft, "divergence_gap": abs(divergence / -exact - 1)}


def entropic_cost(a: Tensor, b: Tensor, epsilon: float) -> float:
    """min_R mean cost - epsilon H(R) of two point clouds (N, D), squared distances, R / N a table.

    The entropy is that of R / N relative to the product of both even marginals, so that it is zero
    for independent ones.
    """
    costs = torch.cdist(a, b).square()
    weights = soft_pairing(-costs, epsilon, 1e-6, 500) / len(a)
    relative = torch.xlogy(weights, weights * len(a) ** 2).sum()
    return ((weights * costs).sum() + epsilon * relative).item()


def squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared distances of all pairs, (N, M)."""
    return ((x[:, None] - y) ** 2).sum(-1)


def plan(costs: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The cheapest plan (N, K) that gives every row one unit and column k `sizes[k]`, by HiGHS."""
    from scipy.optimize import linprog
    from scipy.sparse import eye_array, kron, vstack

    rows, columns = costs.shape
    by_row = kron(eye_array(rows), np.ones((1, columns)))
    by_column = kron(np.ones((1, rows)), eye_array(columns))
    totals = np.concatenate([np.ones(rows), sizes])
    found = linprog(costs.ravel(), A_eq=vstack([by_row, by_column]).tocsr(), b_eq=totals)
    return found.x.reshape(rows, columns)


def _w2_squared(x: np.ndarray, y: np.ndarray) -> float:
    costs = squares(x, y)
    return float((plan(costs, np.ones(len(y))) * costs).sum() / len(x))
