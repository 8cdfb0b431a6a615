"""Mutual information machines: two joints that must agree, and stay informative.

With the anchored joints E = P(x) q(z|x) and D = P(z) p(x|z) and their even mixture M = (E + D) / 2,

    L_CE  = CE(M, (q + p) / 2) >= H(M) = JSD(E, D) + (H(E) + H(D)) / 2
    L_MIM = (CE(M, q) + CE(M, p)) / 2 = L_CE + R_MIM,  R_MIM >= 0, zero iff q = p where M has mass
    L_A-MIM = (CE(E, q) + CE(E, p)) / 2 = H(E) + KL(P(x) || q(x)) / 2 + KL(E || p) / 2

(MIM thesis, eqs 3.10 to 3.21; the last with the full entropy, where the printed 3.20 has half).
`"x": None` in q makes q(x) the marginal of the decoder, bounded by one sample:
log q(x) >= log p(x, z') - log q(z'|x), with the same z' = z for encoded pairs, so that log q(z|x)
cancels and the complete likelihood of the encoder's own sample is left, and a fresh z' for drawn
pairs (Algorithm 3). A factor `"x": density` in q is a parametric or exact q(x).
Nothing then holds up the scale of an encoder: give its conditional a floor.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lvmlab.joint import Batch, Draw, Evaluation, Joint
from lvmlab.objectives.reinforce import discrete_nats, reinforced

Cost = Callable[[dict[str, Tensor]], Tensor]


def mim(
    p: Joint, q: Joint, batch: Batch, beta: float | Tensor = 1.0, anchor: Joint | None = None
) -> Evaluation:
    """L_MIM from as many encoded pairs as drawn ones (MIM thesis, eq. 3.23, Algorithms 1 and 3).

    anchor: a joint over latents that stands for P(z); p's own factors without parents when None.
    Its draws carry no gradient; latents it does not define are drawn from p. beta weighs the
    encoder's side, log q(z|x) + log q(x), for annealing. Terms (B,) nats, all costs: `distortion`
    -log p(x|z), `latent_nll` -log p(z), `encoder_nll` -log q(z|x) and `data_nll` -log q(x) (an
    upper bound with `"x": None`) of encoded pairs, and the same with `drawn_` of drawn pairs.
    Where the decoder's x is discrete, its gradient is REINFORCE's (eq. 3.26), each row's cost
    counted from the mean of the others'; the same holds for discrete latents.
    Raises `ValueError` when the anchor defines no latent of p.
    """
    halves = _halves(p, q, batch, anchor)
    return Evaluation(halves.mean(lambda costs: _even(costs, beta)), halves.terms)


def amim(p: Joint, q: Joint, batch: Batch, beta: float | Tensor = 1.0) -> Evaluation:
    """L_A-MIM, from encoded pairs alone (MIM thesis, eq. 3.19, Algorithm 2).

    With `"x": None` and beta = 1 the loss is -log p(x, z) under the encoder's own sample: a
    complete likelihood, unbounded below in the encoder's scale for discrete x
    (`amim-unbounded-below`). Terms and beta as in `mim`.
    """
    encoded = _encoded(p, q, batch)
    return Evaluation(encoded.mean(lambda costs: _even(costs, beta)), encoded.costs)


def mixture_cross_entropy(
    p: Joint, q: Joint, batch: Batch, anchor: Joint | None = None
) -> Evaluation:
    """L_CE = CE(M, (q + p) / 2), by log-sum-exp (MIM thesis, eq. 3.11, and A.2.3).

    A lower bound of L_MIM. With q and p equal to the anchored E and D it is the entropy H(M), which
    "MIM - H" subtracts. Terms as in `mim`. With `"x": None` the bound on log q(x) makes it an upper
    bound of L_CE.
    """
    halves = _halves(p, q, batch, anchor)
    return Evaluation(halves.mean(_mixture), halves.terms)


def symmetric_kl(p: Joint, q: Joint, batch: Batch, anchor: Joint | None = None) -> Evaluation:
    """Half the sum of KL(q || p) and KL(p || q), from encoded and drawn pairs (MIM thesis, A.4).

    The divergences are those of q and p when the data follow q(x) and the anchor is p's prior.
    Terms as in `mim`. Raises `ValueError` when q has no density for its data: without q(x) the
    second divergence cannot be scored.
    """
    if missing := [v for v, f in q.factors.items() if f is None]:
        raise ValueError(
            f"symmetric_kl needs a density for {missing} in {q}: write the factor, such as "
            '"x": density, in place of None, or use mim'
        )
    halves = _halves(p, q, batch, anchor)
    forward = halves.encoded.mean(lambda costs: _side(costs, "p") - _side(costs, "q"))
    backward = halves.drawn.mean(lambda costs: _side(costs, "q") - _side(costs, "p"))
    return Evaluation((forward + backward) / 2, halves.terms)


def joint_entropy(p: Joint, q: Joint, batch: Batch) -> Evaluation:
    """H(E) = -E log q(x, z) of encoded pairs, the lever on information (MIM thesis, section 5.3).

    "VAE + H" is `weighted((elbo, 1.0), (joint_entropy, 1.0))`. Terms as in `mim`. With `"x": None`
    the bound on log q(x) makes it an upper bound of the cross entropy to the decoder's marginal.
    """
    encoded = _encoded(p, q, batch)
    return Evaluation(encoded.mean(lambda costs: _side(costs, "q")), encoded.costs)


class _Half(NamedTuple):
    """One kind of pairs."""

    costs: dict[str, Tensor]
    discrete: Tensor | None
    """Log-probability of its discrete draws, for REINFORCE."""

    def mean(self, cost: Cost) -> Tensor:
        return reinforced(cost(self.costs), self.discrete).mean()


class _Halves(NamedTuple):
    """Pairs that start from the data, and as many that start from the anchor."""

    encoded: _Half
    drawn: _Half

    @property
    def terms(self) -> dict[str, Tensor]:
        drawn = {f"drawn_{name}": nats for name, nats in self.drawn.costs.items()}
        return self.encoded.costs | drawn

    def mean(self, cost: Cost) -> Tensor:
        return (self.encoded.mean(cost) + self.drawn.mean(cost)) / 2


def _encoded(p: Joint, q: Joint, batch: Batch) -> _Half:
    """The four costs of pairs that start from the data."""
    pairs = q.draw(batch)
    latents = [v for v in pairs.values if v not in batch]
    costs = _costs(p.score(pairs.values), pairs, batch, latents)
    if not _has_density(q):
        costs["data_nll"] = costs["distortion"] + costs["latent_nll"] - costs["encoder_nll"]
    return _Half(costs, discrete_nats(pairs, batch))


def _halves(p: Joint, q: Joint, batch: Batch, anchor: Joint | None) -> _Halves:
    encoded = _encoded(p, q, batch)
    data = [v for v in batch if v in p.variables]
    latents = [v for v in p.variables if v not in batch]
    size = len(next(iter(batch.values())))
    given = {v: value for v, value in batch.items() if v not in p.variables}
    known = given | _anchored(p, latents, given, size, anchor)
    pairs = p.draw(known)
    drawn = _costs(pairs, q.score(pairs.values), data, latents)
    discrete = discrete_nats(pairs, known)
    if not _has_density(q):
        known = given | {v: pairs.values[v] for v in data}
        again = q.draw(known)  # a fresh z': with the same one, log q(z|x) cancels
        decoded = p.score(again.values)
        drawn["data_nll"] = again.nats(latents) - decoded.nats()
        if (fresh := discrete_nats(again, known)) is not None:
            discrete = fresh if discrete is None else discrete + fresh
    return _Halves(encoded, _Half(drawn, discrete))


def _costs(
    decoded: Draw, encoded: Draw, data: Batch | list[str], latents: list[str]
) -> dict[str, Tensor]:
    return {
        "distortion": -decoded.nats(data),
        "latent_nll": -decoded.nats(latents),
        "encoder_nll": -encoded.nats(latents),
        "data_nll": -encoded.nats(data),
    }


def _side(costs: dict[str, Tensor], joint: str) -> Tensor:
    """-log p(x, z) or -log q(x, z), (B,) nats."""
    if joint == "p":
        return costs["distortion"] + costs["latent_nll"]
    return costs["encoder_nll"] + costs["data_nll"]


def _even(costs: dict[str, Tensor], beta: float | Tensor) -> Tensor:
    return (_side(costs, "p") + beta * _side(costs, "q")) / 2


def _mixture(costs: dict[str, Tensor]) -> Tensor:
    both = torch.stack([-_side(costs, "p"), -_side(costs, "q")])
    return torch.log(torch.tensor(2.0, device=both.device)) - both.logsumexp(0)


def _has_density(q: Joint) -> bool:
    return all(factor is not None for factor in q.factors.values())


def _anchored(p: Joint, latents: list[str], given: Batch, size: int, anchor: Joint | None) -> Batch:
    """Draws from P(z), without gradient: the anchor is given, not learned."""
    roots = [v for v, text in zip(p.variables, p.factors, strict=True) if v == text]
    fixed = [v for v in latents if v in (anchor.variables if anchor is not None else roots)]
    if not fixed:
        raise ValueError(
            f"the anchor {anchor} defines none of the latents {latents} of {p}: expected a joint "
            'such as Joint("anchor", {"z": prior})'
        )
    values = (anchor if anchor is not None else p).draw(given, size=size).values
    return {v: values[v].detach() for v in fixed}
