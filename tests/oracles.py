"""Models whose answers are known by another road: closed forms, enumeration, quadrature.

Each oracle has joints p and q, a batch, and exact numbers computed here without the library:
`log_marginal` (B,), `gap` = KL(q(z|x) || p(z|x)) (B,), and for finite latents `log_joint` (B, K).
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MultivariateNormal, Normal

from lvmlab.conditionals import Assignment
from lvmlab.joint import Batch, Joint

# F1 of the identities: p(x, z) over 4 values of x and 2 of z, and encoder rows for x = 0, 1, 2
F1 = torch.tensor([[0.20, 0.05], [0.10, 0.15], [0.05, 0.25], [0.12, 0.08]], dtype=torch.float64)
F1_ENCODER = torch.tensor([[0.7, 0.3], [0.5, 0.5], [0.2, 0.8]], dtype=torch.float64)


@dataclass
class Oracle:
    name: str
    p: Joint
    q: Joint
    batch: Batch
    log_marginal: Tensor
    gap: Tensor
    log_joint: Tensor | None = None
    latents: Tensor | None = None  # one stored value a row, for the complete likelihood
    log_pairs: Tensor | None = None  # log p(x, z) of those pairs

    @property
    def finite(self) -> bool:
        return self.log_joint is not None

    def paired(self) -> tuple[Joint, Batch, Tensor]:
        """q with one stored latent for each row, the batch with its index, exact log p(x, z)."""
        stored, exact = self.latents, self.log_pairs
        if self.log_joint is not None:
            stored = torch.arange(len(self.log_joint)) % self.log_joint.shape[1]
            exact = self.log_joint[torch.arange(len(stored)), stored]
        q = Joint("q", {"x": None, "z|index": Assignment(stored)})
        return q, self.batch | {"index": torch.arange(len(stored))}, exact


def log_normal(value: Tensor, loc: Tensor | float, scale: float) -> Tensor:
    """The density of a normal, written out."""
    return -((value - loc) ** 2) / (2 * scale**2) - math.log(scale) - 0.5 * math.log(2 * math.pi)


def table_joint(table: Tensor) -> Joint:
    """p(z) p(x|z) of a table p(x, z)."""
    columns = (table / table.sum(0)).T
    return Joint(
        "p",
        {
            "z": lambda: Categorical(table.sum(0)),
            "x|z": lambda z: Categorical(columns[z]),
        },
    )


def finite_table() -> Oracle:
    """F1 with its encoder rows; data x = 0, 1, 2 once each."""
    x = torch.arange(3)
    q = Joint("q", {"x": None, "z|x": lambda x: Categorical(F1_ENCODER[x])})
    rows, posterior = F1[:3], F1[:3] / F1[:3].sum(1, keepdim=True)
    gap = (F1_ENCODER * (F1_ENCODER / posterior).log()).sum(1)
    return Oracle(
        "finite table",
        table_joint(F1),
        q,
        {"x": x, "index": x},
        rows.sum(1).log(),
        gap,
        rows.log(),
    )


def linear_gaussian(exact: bool = True) -> Oracle:
    """x = W z + b + s eps, z in 2-D, x in 3-D; q is the exact posterior or a shifted one."""
    rng = np.random.default_rng(3)
    w, b, s = torch.tensor(rng.normal(size=(3, 2))), torch.tensor(rng.normal(size=3)), 0.7
    x = torch.tensor(rng.normal(size=(20, 3)))
    precision = torch.eye(2, dtype=torch.float64) + w.T @ w / s**2
    covariance = torch.linalg.inv(precision)
    covariance = (covariance + covariance.T) / 2
    shift = 0.0 if exact else 0.3

    def posterior(x: Tensor) -> Distribution:
        return MultivariateNormal((x - b) @ w @ covariance / s**2 + shift, covariance)

    zero, one = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    p = Joint(
        "p",
        {
            "z": lambda: Independent(Normal(zero, one), 1),
            "x|z": lambda z: Independent(Normal(z @ w.T + b, s), 1),
        },
    )
    marginal = MultivariateNormal(b, w @ w.T + s**2 * torch.eye(3, dtype=torch.float64))
    delta = torch.full((2,), shift, dtype=torch.float64)
    gap = (0.5 * delta @ precision @ delta).expand(20)
    name = "linear Gaussian" + ("" if exact else ", shifted encoder")
    q = Joint("q", {"x": None, "z|x": posterior})
    z = torch.tensor(rng.normal(size=(20, 2)))
    pairs = log_normal(z, 0.0, 1.0).sum(1) + log_normal(x, z @ w.T + b, s).sum(1)
    return Oracle(name, p, q, {"x": x}, marginal.log_prob(x), gap, latents=z, log_pairs=pairs)


def grid_1d() -> Oracle:
    """z ~ N(0, 1), x|z ~ N(2 sin z, 0.5), a Gaussian encoder; sums over 4,001 points of z."""
    x = torch.linspace(-2.5, 2.5, 9, dtype=torch.float64)
    z = torch.linspace(-9, 9, 4001, dtype=torch.float64)
    dz = z[1] - z[0]

    def normal(loc: Any, scale: float) -> Normal:
        return Normal(torch.as_tensor(loc, dtype=torch.float64), scale)

    log_joint = normal(0.0, 1.0).log_prob(z) + normal(2 * z.sin(), 0.5).log_prob(x[:, None])
    log_marginal = (log_joint.logsumexp(1) + dz.log()).clone()
    encoder = normal(0.4 * x[:, None], 0.6).log_prob(z)
    gap = (encoder.exp() * (encoder - log_joint + log_marginal[:, None])).sum(1) * dz
    p = Joint("p", {"z": lambda: normal(0.0, 1.0), "x|z": lambda z: normal(2 * z.sin(), 0.5)})
    q = Joint("q", {"x": None, "z|x": lambda x: normal(0.4 * x, 0.6)})
    stored = x / 4
    pairs = log_normal(stored, 0.0, 1.0) + log_normal(x, 2 * stored.sin(), 0.5)
    return Oracle("1-D grid", p, q, {"x": x}, log_marginal, gap, latents=stored, log_pairs=pairs)


class Strings(Distribution):
    """All strings of three letters over an alphabet of three, a Markov chain for each topic."""

    arg_constraints: dict = {}  # noqa: RUF012 - torch's own name and form
    has_rsample = False

    def __init__(self, first: Tensor, then: Tensor):
        super().__init__(first.shape[:1], torch.Size([3]), validate_args=False)
        self.first, self.then = first, then  # (B, 3), (B, 3, 3)

    def log_prob(self, value: Tensor) -> Tensor:
        rows = torch.arange(len(value))
        nats = self.first[rows, value[:, 0]].log()
        for i in (1, 2):
            nats = nats + self.then[rows, value[:, i - 1], value[:, i]].log()
        return nats


STRINGS = torch.tensor(list(itertools.product(range(3), repeat=3)))


def short_strings() -> Oracle:
    """Two topics, each a Markov chain; the data are all 27 strings, p(x) sums to one."""
    rng = np.random.default_rng(5)
    weights = torch.tensor([0.35, 0.65], dtype=torch.float64)
    first = torch.tensor(rng.dirichlet(np.ones(3), size=2))
    then = torch.tensor(rng.dirichlet(np.ones(3), size=(2, 3)))
    encoder = torch.tensor(rng.dirichlet(np.ones(2), size=27))
    log_joint = torch.empty(27, 2, dtype=torch.float64)
    for n, text in enumerate(STRINGS.tolist()):
        for k in range(2):
            chain = first[k, text[0]] * then[k, text[0], text[1]] * then[k, text[1], text[2]]
            log_joint[n, k] = math.log(weights[k] * chain)
    place = torch.tensor([9, 3, 1])
    p = Joint("p", {"z": lambda: Categorical(weights), "x|z": lambda z: Strings(first[z], then[z])})
    q = Joint("q", {"x": None, "z|x": lambda x: Categorical(encoder[(x * place).sum(1)])})
    log_marginal = log_joint.exp().sum(1).log()
    posterior = (log_joint - log_marginal[:, None]).exp()
    gap = (encoder * (encoder / posterior).log()).sum(1)
    batch = {"x": STRINGS, "index": torch.arange(27)}
    return Oracle("short strings", p, q, batch, log_marginal, gap, log_joint)


def best_of_all_permutations(scores: Tensor) -> tuple[float, tuple[int, ...]]:
    """The largest total score over all permutations, by trying each."""
    rows = range(len(scores))
    totals = {
        order: sum(float(scores[i, order[i]]) for i in rows)
        for order in itertools.permutations(rows)
    }
    best = max(totals, key=totals.__getitem__)
    return totals[best], best


def all_oracles() -> list[Oracle]:
    return [
        finite_table(),
        linear_gaussian(),
        linear_gaussian(exact=False),
        grid_1d(),
        short_strings(),
    ]


class Fixed(Normal):
    """Scores every value with given nats, whatever it is."""

    def __init__(self, nats):
        super().__init__(torch.zeros_like(nats), 1.0)
        self.nats = nats

    def log_prob(self, value):
        return self.nats.expand(value.shape)
