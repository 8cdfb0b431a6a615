"""A finite latent k summed out: every k weighs in by q(k|x), none is drawn.

E_q(k,z|x) f = sum_k q(k|x) E_q(z|k,x) f (GM-WAE paper, eq. 14; `exact-k-expectation`), so k needs
no score function and no relaxation. A batch of B rows becomes one of B x K: q(k|x) is asked once
for each row, everything after it once for each row and value.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from lvmlab.joint import Batch, Draw, Evaluation, Joint, variable_of


class Summed(NamedTuple):
    """A batch with every value of the summed latent, and one draw of what depends on it."""

    log_weights: Tensor
    """(B, K) nats, log q(k|x); -inf where a weight counts as 0."""
    draw: Draw
    """Of the N pairs of a row and a value that count, all B x K or fewer, the values of k fastest:
    q's other latents, drawn and scored."""

    @property
    def counts(self) -> Tensor:
        """(B, K), which pairs these are."""
        return self.log_weights > -torch.inf

    def table(self, values: Tensor) -> Tensor:
        """Values (N, ...) of the pairs at their places (B, K, ...), 0 at all others."""
        wide = values.new_zeros(*self.log_weights.shape, *values.shape[1:])
        return wide.index_put((self.counts,), values)

    def mean(self, values: Tensor) -> Tensor:
        """Averages (B,) with the weights q(k|x) of values (N,)."""
        return (self.log_weights.exp() * self.table(values)).sum(1)


def summed_out(q: Joint, batch: Batch, over: str = "k", least: float = 0.0) -> Summed:
    """Complete a batch with every value of the latent `over`, and draw q's latents after it.

    least: weights q(k|x) below it count as 0 and the others of the row as so much more: what is
    summed is still a q(k|x), and nothing is computed for the pairs left out. With 0 none are.
    Raises `ValueError` when q has no such latent, when the batch already holds it, as
    `Joint.enumerate` does when its values cannot be enumerated, and for a `least` outside
    [0, 1 / K).
    """
    if over not in q.variables or over in batch:
        why = "the batch already holds it" if over in batch else f"{q} has none"
        raise ValueError(
            f"over names the latent to be summed out, got {over!r}, but {why}: "
            f'expected one of {[v for v in q.variables if v not in batch]}, such as "k" of q(k|x)'
        )
    texts = list(q.factors)
    split = q.variables.index(over) + 1
    first = Joint(q.name, {t: q.factors[t] for t in texts[:split]}, q.validate).enumerate(batch)
    rows = {name: value.flatten(0, 1) for name, value in first.values.items()}
    log_weights = _heavy(first.log_joint, least)
    pairs = (log_weights > -torch.inf).flatten()
    rows = {name: value[pairs] for name, value in rows.items()}
    after = {t: q.factors[t] for t in texts[split:]}
    draw = Joint(q.name, after, q.validate).draw(rows) if after else Draw(rows, {}, {})
    return Summed(log_weights, draw)


def _heavy(log_weights: Tensor, least: float) -> Tensor:
    """Log weights (B, K) of the pairs that count, the others -inf, each row summing to one."""
    if not 0 <= least < 1 / log_weights.shape[1]:
        raise ValueError(
            f"least must be 0 or more and below 1 / {log_weights.shape[1]}, got {least}: the "
            "largest weight of a row must stay"
        )
    if not least:
        return log_weights
    light = log_weights < math.log(least)  # what is not a number stays, and is found
    return log_weights.masked_fill(light, -torch.inf).log_softmax(1)


def summed_elbo(
    p: Joint,
    q: Joint,
    batch: Batch,
    beta: float = 1.0,
    over: str = "k",
    least: float = 0.0,
) -> Evaluation:
    """The negative ELBO of a joint with a finite latent k, summed over k exactly.

    bound = sum_k q(k|x) [ E log p(x|z) - KL(q(z|k,x) || p(z|k)) ] - KL(q(k|x) || p(k)) <= log p(x).
    The KL of z stays inside the sum; the paper's eq. 3 closes the bracket before it (GM-WAE paper,
    eqs 2 and 3; `gmvae-elbo-corrected-3`). log p(x|z) comes from one draw of z for each k, the KL
    of z in closed form where torch knows one, else from the same draw.

    loss: mean of distortion + beta * (continuous_rate + discrete_rate), a bound at beta = 1 only.
    Terms (B,) nats, unweighted: `distortion`, `continuous_rate`, the mean KL of z, and
    `discrete_rate`, the KL of k, at most log K under an even p(k) (`discrete-kl-bound`). With
    `least` as in `summed_out` they are those of the q(k|x) that is left, a bound like any other.
    Raises `ValueError` as `summed_out` does.
    """
    encoded = summed_out(q, batch, over, least)
    decoded = p.score(encoded.draw.values)
    distortion = encoded.mean(-decoded.nats(batch))
    log_prior = decoded.nats([over])
    rate = torch.zeros_like(log_prior)
    for text in encoded.draw.distributions:
        rate = rate + _rate(text, encoded.draw, decoded)
    terms = {
        "distortion": distortion,
        "continuous_rate": encoded.mean(rate),
        "discrete_rate": encoded.mean(encoded.log_weights[encoded.counts] - log_prior),
    }
    rates = terms["continuous_rate"] + terms["discrete_rate"]
    return Evaluation((distortion + beta * rates).mean(), terms)


def _rate(text: str, encoded: Draw, decoded: Draw) -> Tensor:
    """KL(q || p) of one latent in each of the B x K rows, or its estimate from the draw, nats."""
    variable = variable_of(text)
    prior = next(t for t in decoded.distributions if variable_of(t) == variable)
    try:
        return kl_divergence(encoded.distributions[text], decoded.distributions[prior])
    except NotImplementedError:
        return encoded.log_prob[text] - decoded.log_prob[prior]
