"""The toy of the studies in `knowledge`: two moons, two kinds that overlap, all on a grid."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lvmlab import noise
from lvmlab.datasets.toys import GaussianMixture
from lvmlab.flows import Flow
from lvmlab.joint import Batch, Joint
from lvmlab.models import Knowledge, dense_flow
from lvmlab.objectives import marginal_likelihood
from lvmlab.studies.knowledge_runs import Trained, descended

SIDE = 2.7  # half the side of the grid; all but 1e-4 of the mass lies inside


def moons() -> GaussianMixture:
    """Two moons as 24 round Gaussians of scale 0.3: a density that is known everywhere."""
    angle = torch.linspace(0, math.pi, 12, dtype=torch.float64)
    upper = torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], 1)
    return GaussianMixture([1 / 24] * 24, torch.cat([upper, -upper]), 0.3)


def known(t: Tensor) -> dict[str, Tensor]:
    """Exact p(e=1|t) of the toy's kinds, (N,): drawn with the upper moon; to the left, softly."""
    upper = moons().posterior(t.double())[:, :12].sum(1)
    return {"upper": upper, "left": torch.sigmoid(-4 * t.double()[:, 0])}


def toy_rows(size: int, seed: int) -> Batch:
    """Draws of t and of both e, which are independent given t; seeds apart from weights' seeds."""
    t = moons().sample(size, seed=seed + 10_000)["x"]
    coins = torch.rand(size, 2, generator=noise.generator("knowledge", seed), dtype=torch.float64)
    exact = known(t)
    return {"t": t} | {
        f"e_{name}": (coins[:, i] < exact[name]).long() for i, name in enumerate(exact)
    }


class Grid(NamedTuple):
    """Points that cover the toy, with the exact densities there."""

    t: Tensor
    """(N, 2)."""
    area: float
    density: Tensor
    """(N,), p(t)."""
    known: dict[str, Tensor]
    """(N,), p(e=1|t)."""

    def normal(self, nats: Tensor) -> Tensor:
        """The density proportional to exp(nats), however large these are."""
        return nats.softmax(0) / self.area

    def exactly(self, names: Sequence[str]) -> Tensor:
        """p(t | e = 1 for all of these kinds)."""
        nats = self.density.log()
        for name in names:
            nats = nats + self.known[name].log()
        return self.normal(nats)

    def distance(self, a: Tensor, b: Tensor) -> float:
        """Total variation of two densities, 0 ... 1."""
        return 0.5 * (a - b).abs().sum().item() * self.area

    def cross_entropy(self, a: Tensor, b: Tensor) -> float:
        """-E_a log b, nats."""
        return -(a * b.clamp_min(1e-300).log()).sum().item() * self.area


def grid(points: int) -> Grid:
    """So many points along each side, from -2.7 to 2.7."""
    axis = torch.linspace(-SIDE, SIDE, points)
    t = torch.cartesian_prod(axis, axis)
    area = float(axis[1] - axis[0]) ** 2
    return Grid(t, area, moons().log_prob(t.double()).exp(), known(t))


def toy_flow(s: Any, seed: int) -> Trained:
    """The toy's flow of size `s`, trained and frozen."""
    torch.manual_seed(seed)
    knowledge = Knowledge(Flow(dense_flow(2, s.layers, s.width), (2,)))
    p, q = Joint("p", {"t": knowledge.density}), Joint("q", {"t": None})
    rows = {"t": toy_rows(s.rows, seed)["t"]}
    seconds = descended(marginal_likelihood, p, q, rows, s, seed, s.flow_steps)
    return Trained(knowledge.freeze().eval(), seconds)


@torch.no_grad()
def given_kind(knowledge: Knowledge, name: str, t: Tensor, nodes: int = 161) -> Tensor:
    """p(t|e=1) of one kind at points t (N, D), its code of one dimension integrated out."""
    z, log_det = knowledge.density.bijection(t)
    p, _ = knowledge.pair(name, latent=True)
    one = torch.ones(len(t), dtype=torch.long)
    if f"c_{name}" not in p.variables:
        nats = p.score({"z": z, f"e_{name}": one}).nats(["z"])
        return (nats + log_det).double().exp()
    c = torch.linspace(-5, 5, nodes)[:, None]
    rows = torch.ones(nodes, dtype=torch.long)
    above = p.score({f"c_{name}": c, f"e_{name}": rows, "z": torch.zeros(nodes, z.shape[1])})
    weights = above.nats([f"c_{name}", f"e_{name}"]).double().softmax(0)
    decoder: Any = p.factors[f"z|e_{name},c_{name}"]
    total = torch.zeros(len(t), dtype=torch.float64)
    u, inner = decoder.bijection(z, one)  # the same for every code
    for weight, code in zip(weights, c, strict=True):
        base = decoder.base(one[:1], code[None])
        total += weight * (base.log_prob(u) + inner + log_det).double().exp()
    return total


@torch.no_grad()
def combined(knowledge: Knowledge, names: Sequence[str], t: Tensor, way: str) -> Tensor:
    """Log p(t, e) of several kinds without codes, all e = 1, in one of three ways, (N,) nats.

    "decoders / p(t)" is eq. 8.4, prod p(t|e_i) p(e_i) / p(t)^(number - 1); "decoders" leaves the
    division out, as a product of experts would; "p(t) discriminators" is eq. 8.3.
    """
    one = torch.ones(len(t), dtype=torch.long)
    values = {"t": t} | {f"e_{name}": one for name in names}
    if way == "p(t) discriminators":
        return knowledge.encoding(names).score(values).nats().double()
    nats = knowledge.log_decoding(values, names)
    if way == "decoders":
        nats = nats + (len(names) - 1) * knowledge.density().log_prob(t)
    return nats.double()


@torch.no_grad()
def discriminator_error(knowledge: Knowledge, name: str, points: Grid) -> float:
    """|q(e=1|t) - p(e=1|t)| on average over the exact p(t)."""
    discriminator: Any = knowledge.encoding([name]).factors[f"e_{name}|t"]
    told = discriminator(points.t).probs[:, 1].double()
    return ((told - points.known[name]).abs() * points.density).sum().item() * points.area
