"""The MIM thesis, appendix B: on the line, which loss makes the two joints one.

All four factors are mixtures of ten normals; conditionals are regressed by two hidden layers of ten
with the swish activation; anchors have two and three components. Scales are 0.05 + softplus(.):
the thesis gives no floor, but nothing else stops a continuous MIM from growing ever sharper, and no
grid could follow it. Every number is an integral on a grid, not an estimate. Draws of mixtures
carry the exact gradient of one dimension. All seeds of a cell train together (`many.fit_many`).
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lvmlab.datasets import toys
from lvmlab.joint import Evaluation, Joint
from lvmlab.many import fit_many
from lvmlab.models import MixtureOfNormals, mixtures_1d
from lvmlab.objectives import mim, mixture_cross_entropy
from lvmlab.studies.compare import Claim
from lvmlab.studies.ledger import Cell, Row, measure, sizes
from lvmlab.train import Fresh

FLOOR = 0.05
DATA = toys.mixture_1d([-2.0, 0.5, 2.0], [0.4, 0.3, 0.5], [0.3, 0.4, 0.3])
CODE = toys.mixture_1d([-1.5, 1.5], [0.5, 0.5], [0.4, 0.6])
REACH, POINTS = 7.0, 561  # the grid of every integral: steps of 0.025

# steps: of each phase of training; minutes: on one core, those of paper size reckoned
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "mim-consistency-1d": {
        "smoke": {"seeds": 2, "steps": 100, "batch": 64, "minutes": 0.1},
        "lesson": {"seeds": 3, "steps": 2000, "batch": 256, "minutes": 3},
        "paper": {"seeds": 10, "steps": 10_000, "batch": 256, "minutes": 40},
    },
}

SYSTEM, FIXED = "10-component mixtures", "N(0, 1) priors"
CONSISTENT = ("symmetric_kl", "data_prior_kl", "latent_prior_kl", "r_mim")
ANCHORED = ("data_anchor_kl", "latent_anchor_kl")

# the figures print no numbers, so what can be compared is who lies below whom
CLAIMS = {
    "mim-consistency-1d": (
        *(Claim("Figure B.1", "MIM", name, "below", "L_CE") for name in CONSISTENT),
        *(Claim("Figure B.1", "L_CE", name, "below", "MIM") for name in ANCHORED),
        *(Claim("Figure B.2", "MIM", n, "below", f"MIM, {FIXED}") for n in CONSISTENT[:3]),
        *(Claim("Figure B.3", "L_CE, then MIM", n, "below", "L_CE") for n in CONSISTENT),
        *(Claim("Figure B.3", "MIM, then L_CE", n, "above", "MIM") for n in CONSISTENT),
    )
}


def mim_consistency_1d(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """L_MIM and L_CE on the line: priors learned and fixed, both orders (Figures B.1 to B.3).

    Numbers as in `integrals`.
    """
    size = sizes(SIZES["mim-consistency-1d"], preset)
    phases: dict[str, Sequence[Callable[..., Evaluation]]] = {
        "L_CE": [mixture_cross_entropy],
        "MIM": [mim],
        "L_CE, then MIM": [mixture_cross_entropy, mim],
        "MIM, then L_CE": [mim, mixture_cross_entropy],
    }
    cells = [
        Cell(
            SYSTEM,
            name if learned else f"{name}, {FIXED}",
            "mixtures_1d",
            partial(_trained, learned, objectives, size.steps, size.batch),
        )
        for learned in (True, False)
        for name, objectives in phases.items()
        if learned or len(objectives) == 1
    ]
    study = "mim-consistency-1d"
    return measure(study, preset, size.seeds if seeds is None else seeds, cells)


def _trained(
    learned: bool,
    objectives: Sequence[Callable[..., Evaluation]],
    steps: int,
    size: int,
    seeds: list[int],
) -> list[dict[str, float]]:
    """Train under each objective in turn, from where the one before ended, and integrate."""
    anchor = Joint("anchor", {"z": lambda: _density(CODE)}, validate=False)
    pairs: dict[int, tuple[Joint, Joint]] = {}

    def make(seed: int) -> tuple[Joint, Joint]:
        return pairs[seed] if seed in pairs else mixtures_1d(floor=FLOOR, learned_priors=learned)

    for phase, objective in enumerate(objectives):
        runs = fit_many(
            make,
            seeds,
            partial(_batches, size, phase),
            partial(objective, anchor=anchor),
            steps=steps,
            lr=5e-3,
            schedule=lambda step: 1 - 0.9 * step / steps,
            device="cpu",
        )
        pairs |= {r.seed: (r.p, r.q) for r in runs}
    return [integrals(*pairs[seed]) for seed in seeds]


def _batches(size: int, phase: int, seed: int) -> Fresh:
    """Draws of P(x), others in every phase."""
    return Fresh(
        lambda n, generator: {"x": DATA.sample(n, generator=generator)["x"]},
        size,
        seed + 10**6 * phase,
    )


def integrals(p: Joint, q: Joint) -> dict[str, float]:
    """How consistent p and q are, and how close to the anchors, by quadrature, in nats.

    `symmetric_kl` is half of KL(q||p) + KL(p||q); `data_prior_kl` is KL of q(x) from the decoder's
    marginal and `latent_prior_kl` that of p(z) from the encoder's; `data_anchor_kl` is KL(P(x) ||
    q(x)) and `latent_anchor_kl` KL(P(z) || p(z)); `r_mim` is L_MIM - L_CE; `information` is that of
    M, the even mixture of both anchored joints. Rows and columns are x and z.
    """
    grid = torch.linspace(-REACH, REACH, POINTS, dtype=torch.float64)[:, None]
    factors: dict[str, Any] = q.factors | p.factors
    with torch.no_grad():
        anchor_x, anchor_z = DATA.log_prob(grid), CODE.log_prob(grid)
        prior_x, prior_z = (factors[v]().log_prob(grid.float()).double() for v in "xz")
        encoder = _on_grid(factors["z|x"](grid.float()), grid)
        decoder = _on_grid(factors["x|z"](grid.float()), grid).T
    log_q, log_p = prior_x[:, None] + encoder, prior_z + decoder
    log_m = torch.logaddexp(anchor_x[:, None] + encoder, anchor_z + decoder) - math.log(2)
    mixed = torch.logaddexp(log_q, log_p) - math.log(2) - (log_q + log_p) / 2
    marginals = _integral(log_m.exp(), 1).log()[:, None] + _integral(log_m.exp(), 0).log()
    return {
        "symmetric_kl": (_kl(log_q, log_p) + _kl(log_p, log_q)) / 2,
        "data_prior_kl": _kl(prior_x, _integral(log_p.exp(), 1).log()),
        "latent_prior_kl": _kl(prior_z, _integral(log_q.exp(), 0).log()),
        "data_anchor_kl": _kl(anchor_x, prior_x),
        "latent_anchor_kl": _kl(anchor_z, prior_z),
        "r_mim": _mean(log_m, mixed),
        "information": _kl(log_m, marginals),
    }


def _on_grid(here: MixtureOfNormals, grid: Tensor) -> Tensor:
    """Log-density of the child (columns) for every parent (rows)."""
    parts = (v.double()[:, None] for v in (here.log_weights, here.loc, here.scale))
    return MixtureOfNormals(*parts).log_prob(grid)


def _integral(values: Tensor, dim: int) -> Tensor:
    step = 2 * REACH / (POINTS - 1)
    return values.sum(dim).clamp_min(1e-300) * step


def _mean(log_weight: Tensor, values: Tensor) -> float:
    """The mean of values under a density on the grid, normalised there."""
    weight = log_weight.exp()
    return float((weight * torch.where(weight > 0, values, 0)).sum() / weight.sum())


def _kl(log_a: Tensor, log_b: Tensor) -> float:
    """KL(a || b) of two densities on one grid."""
    return _mean(log_a, log_a - log_b)


def _density(mixture: toys.GaussianMixture) -> MixtureOfNormals:
    loc, scale = mixture.means[:, 0].float(), mixture.scale.float()
    return MixtureOfNormals(mixture.weights.log().float(), loc, scale)
