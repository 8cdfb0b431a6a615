"""What knowledge of one kind says about t, and draws of t that several kinds know (TzK).

p and q are the joints of one kind, p(c) p(e|c) p(t|e,c) and q(t) q(e|t) q(c|e,t), or the same
without c; q may hold several kinds where it says so. Networks are in evaluation mode, nothing has a
gradient, and draws come from a random state of their own.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lvmlab.diagnostics import arrays
from lvmlab.diagnostics.likelihood import log_mean_exp
from lvmlab.joint import Batch, Joint, variable_of
from lvmlab.train import evaluating, quietly

_ROWS = 500  # examples scored at once


class ConditionalLikelihood(NamedTuple):
    """How well one kind predicts each t, (B,) nats each."""

    distortion: np.ndarray
    """-E log p(t|e,c) with c from q(c|e,t), that is, with a code read off the very t it predicts.

    The thesis reports this number (G.2.3). It bounds nothing: it may lie below the entropy of t.
    """
    rate: np.ndarray
    """E log q(c|e,t) - log p(c|e), what the code costs; 0 where there is none or c is given."""

    @property
    def bound(self) -> np.ndarray:
        """Upper bound of -log p(t|e): distortion and rate."""
        return self.distortion + self.rate


class Composed(NamedTuple):
    """Draws of t, e and c under several kinds at once."""

    values: Batch
    effective: float
    """Kish's effective number of the candidates they were chosen from: low is bad."""


def conditional_likelihood(
    p: Joint, q: Joint, batch: Batch, samples: int = 1, prior_samples: int = 10_000, seed: int = 0
) -> ConditionalLikelihood:
    """Distortion and rate of t given e, by so many codes for each row.

    batch: t and e; with c in it, the numbers are those given c. p(c|e) = p(c) p(e|c) / p(e), with
    p(e) the mean of p(e|c) over `prior_samples` codes. `importance_weighted_nll` minus -log p(e),
    `existence_nll`, is a tighter bound than `bound`.
    Raises `ValueError` for samples below 1.
    """
    samples = arrays.whole_number("samples", samples, 1)
    data = p.variables[-1]
    codes = [v for v in p.variables if v not in batch]
    with torch.no_grad(), evaluating({"p": p, "q": q}), quietly(seed):
        rows = len(batch[data])
        found = [
            _distortion_and_rate(p, q, _part(batch, start), data, codes, samples)
            for start in range(0, rows, _ROWS)
        ]
        distortion, rate = (
            torch.cat(parts).double().cpu().numpy() for parts in zip(*found, strict=True)
        )
        if codes:
            rate = rate - existence_nll(p, batch, prior_samples, seed)
    return ConditionalLikelihood(distortion, rate)


def existence_nll(p: Joint, batch: Batch, prior_samples: int = 10_000, seed: int = 0) -> np.ndarray:
    """-log p(e) of every row, (B,) nats, codes averaged out over draws from p(c)."""
    above = {text: f for text, f in p.factors.items() if variable_of(text) != p.variables[-1]}
    text = list(above)[-1]
    e = batch[variable_of(text)]
    with torch.no_grad(), evaluating({"p": p}), quietly(seed):
        here = Joint(p.name, above).draw(size=prior_samples).distributions[text]
        values = torch.arange(2, device=e.device)[:, None]
        nats = [log_mean_exp(here.log_prob(v.expand(prior_samples))) for v in values]
    return -np.asarray(nats)[e.cpu().numpy()]


def block_gibbs(p: Joint, q: Joint, given: Batch, rounds: int = 10, seed: int = 0) -> Batch:
    """Draws of t and c given e, by turns: t from p(t|e,c), then c from q(c|e,t) (G.2.2).

    given: e, one value for each chain. Starts with c from p(c); after so many rounds gives t, e
    and the c that t was drawn with. The law is p(t,c|e) in the limit, when p and q are one joint.
    Raises `ValueError` for rounds below 1.
    """
    rounds = arrays.whole_number("rounds", rounds, 1)
    with torch.no_grad(), evaluating({"p": p, "q": q}), quietly(seed):
        values = p.draw(given).values
        for _ in range(rounds - 1):
            back = q.draw({v: x for v, x in values.items() if v in given or v == p.variables[-1]})
            values = p.draw({v: x for v, x in back.values.items() if v != p.variables[-1]}).values
    return values


def compose(
    q: Joint,
    given: dict[str, int],
    size: int,
    proposal: Joint | None = None,
    candidates: int | None = None,
    seed: int = 0,
) -> Composed:
    """Draws of t that several kinds know, by importance resampling (MIM thesis, G.2.2).

    q: the encoding joint of all kinds; given: e_name to 0 or 1 for each kind that is asked for.
    Candidates come from q(t), weighted by the product of q(e_i|t); with `proposal`, the decoding
    joint p of one of these kinds, from p(t|e_i), weighted by the other q(e_j|t). Of `candidates`
    (twenty times `size` when None) `size` are chosen with replacement, and every c is drawn from
    its q(c|e,t). Both ways aim at p(t) prod q(e_i|t); they agree where p(t|e) p(e) = p(t) q(e|t).
    A candidate that the inverse of the flow sent beyond all numbers counts as nothing.
    Raises `ValueError` for an e that q does not know, for sizes below 1, and when no candidate
    counts.
    """
    size = arrays.whole_number("size", size, 1)
    many = 20 * size if candidates is None else arrays.whole_number("candidates", candidates, 1)
    if unknown := sorted(set(given) - set(q.variables)):
        raise ValueError(f"given: {q} has no {unknown}, there are {q.variables[1:]}")
    data = q.variables[0]
    modules: dict[str, nn.Module] = {"q": q} if proposal is None else {"q": q, "p": proposal}
    start = Joint("q", {data: q.factors[data]}) if proposal is None else proposal
    asked = [text for text in q.factors if text == data or variable_of(text) in given]
    with torch.no_grad(), evaluating(modules), quietly(seed):
        known = {e: torch.full((many,), value) for e, value in given.items()}
        own = {e: v for e, v in known.items() if e in start.variables}
        first = start.draw(own, many)
        scored = Joint("q", {text: q.factors[text] for text in asked})
        judged = scored.score({**known, data: first.values[data]})
        nats = judged.nats(given.keys() - own.keys()) + first.nats(own.keys())
        weights = _shares(nats)
        chosen = weights.multinomial(size, replacement=True)
        values = {name: v[chosen] for name, v in {**known, data: first.values[data]}.items()}
        values = q.draw(values).values
    return Composed(values, 1 / weights.double().square().sum().item())


def four_corners(z: Any, steps: int = 7) -> Tensor:
    """Places between four z (4, ...), bilinearly: (steps, steps, ...), corners in reading order.

    Between two of them log N(z; 0, I) is concave, so no place is less likely than the worse end;
    nothing follows for the density of t, which has the Jacobian in it (`gaussian-interpolation`).
    Raises `ValueError` for anything but four, and fewer than 2 steps.
    """
    steps = arrays.whole_number("steps", steps, 2)
    z = torch.as_tensor(z)
    if z.ndim < 1 or len(z) != 4:
        raise ValueError(f"z must hold four places (4, ...), got shape {tuple(z.shape)}")
    along = torch.linspace(0, 1, steps, dtype=z.dtype, device=z.device)
    down, across = along[:, None], along[None, :]
    weights = torch.stack(
        [(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across]
    )
    return torch.einsum("kij,k...->ij...", weights, z)


def _shares(nats: Tensor) -> Tensor:
    """Weights that sum to 1, from their logarithms; 0 where these are not finite."""
    if not nats.isfinite().any():
        raise ValueError(
            f"none of the {len(nats)} candidates has a finite weight: these kinds may exclude each "
            "other, or the flow is not trained. Try more candidates, or another proposal"
        )
    return torch.where(nats.isfinite(), nats, -torch.inf).softmax(0)


def _distortion_and_rate(
    p: Joint, q: Joint, batch: Batch, data: str, codes: list[str], samples: int
) -> tuple[Tensor, Tensor]:
    """Means over the draws of c, (B,) each; the rate without log p(e)."""
    repeated = {name: v.repeat(samples, *[1] * (v.ndim - 1)) for name, v in batch.items()}
    encoded = q.draw(repeated)
    decoded = p.score(encoded.values)
    distortion = -decoded.nats([data])
    rate = torch.zeros_like(distortion)
    if codes:
        above = [v for v in p.variables if v != data]
        rate = encoded.nats(codes) - decoded.nats(above)
    return distortion.unflatten(0, (samples, -1)).mean(0), rate.unflatten(0, (samples, -1)).mean(0)


def _part(batch: Batch, start: int) -> Batch:
    return {name: value[start : start + _ROWS] for name, value in batch.items()}
