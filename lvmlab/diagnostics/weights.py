"""Importance weights for the report: how much likelihood the model has, whatever its encoder does.

Samples of q(z|x) alone miss the mass of p(z|x) where the encoder is narrower than that; so a part
of the samples comes from wider copies of the encoder and from the prior, and all are weighed by
the mixture that they were drawn from (Veach and Guibas 1995, the balance heuristic). The logarithm
of the mean weight is a lower bound on log p(x) on average, as with q alone (Burda et al. 2016).
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lvmlab.diagnostics.encoded import array, chunks, diagonal, factor_of
from lvmlab.joint import Batch, Joint, variable_of

ROUND = 20  # samples of each row that are in memory at once


class Weighed(NamedTuple):
    """What the weights of some rows say, in nats."""

    nll: np.ndarray  # (R,), its mean is an upper bound on average
    gap: np.ndarray  # (R,), the bound's cost less nll, from the same samples
    effective: float  # mean effective number of samples


def weigh(p: Joint, q: Joint, batch: Batch, samples: int, width: float | None = None) -> Weighed:
    """Weigh `samples` draws for each row: half from q, the others from the prior and wider copies.

    width: a factor on the scale of a Gaussian encoder that is worth a try; None for other
    encoders, which then give three quarters of the samples themselves.
    """
    parts = [_weigh(p, q, some, samples, width) for some in chunks(batch, ROUND)]
    nll, gap, effective = (torch.cat(column) for column in zip(*parts, strict=True))
    return Weighed(array(nll), array(gap), float(effective.mean()))


def _weigh(
    p: Joint, q: Joint, batch: Batch, samples: int, width: float | None
) -> tuple[Tensor, Tensor, Tensor]:
    size = len(next(iter(batch.values())))
    factors = [1.0] if width is None else [1.0, width, 3 * max(width, 1.0)]
    shares = _shares(samples, len(factors))
    log_sum, log_squares = (torch.full((size,), -math.inf, dtype=torch.float64) for _ in range(2))
    costs = torch.zeros(size, dtype=torch.float64)
    for source, share in enumerate(shares):
        for done in range(0, share, ROUND):
            times = min(ROUND, share - done)
            log_q, log_prior, log_data = _scored(p, q, batch, times, source, factors)
            if source == 0:
                costs += (log_q[0] - log_prior - log_data).sum(0).cpu()
            proposal = torch.stack(
                [
                    nats + math.log(share_of / samples)
                    for nats, share_of in zip([*log_q, log_prior], shares, strict=True)
                    if share_of
                ]
            ).logsumexp(0)
            log_w = (log_prior + log_data - proposal).cpu()
            log_sum = torch.logaddexp(log_sum, log_w.logsumexp(0))
            log_squares = torch.logaddexp(log_squares, (2 * log_w).logsumexp(0))
    nll = math.log(samples) - log_sum
    return nll, costs / shares[0] - nll, (2 * log_sum - log_squares).exp()


def _shares(samples: int, factors: int) -> list[int]:
    """How many samples come from each factor on q's scale, and from the prior, in this order."""
    quarter = samples // 4
    wider = [samples // 8] * (factors - 1)
    return [samples - sum(wider) - quarter, *wider, quarter]


def _scored(
    p: Joint, q: Joint, batch: Batch, times: int, source: int, factors: list[float]
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Log-densities (times, B) of draws from one source: under each width of q, p(z), p(x|z)."""
    rows = {v: value.repeat(times, *[1] * (value.ndim - 1)) for v, value in batch.items()}
    size = len(next(iter(batch.values())))
    drawn = q.draw(rows)
    latents = [v for v in drawn.values if v not in batch]
    if source == len(factors):
        roots = {t: f for t, f in p.factors.items() if variable_of(t) in latents}
        total = len(next(iter(rows.values())))
        free = Joint("p", roots, p.validate).draw(
            {v: value for v, value in rows.items() if v not in p.variables}, size=total
        )
        drawn = q.score(rows | {v: free.values[v] for v in latents})
    values = dict(drawn.values)
    log_q = [drawn.nats(latents)]
    if len(factors) > 1:
        (name,) = latents
        mean, scale = diagonal(factor_of(drawn, name))  # type: ignore[misc]
        noise = (values[name] - mean) / scale
        if 0 < source < len(factors):
            noise = noise * factors[source]
            values[name] = mean + noise * scale
        log_q = [_widened(noise, scale, factor) for factor in factors]
    decoded = p.score(values)
    data = [v for v in batch if v in p.variables]
    found = [*log_q, decoded.nats(latents), decoded.nats(data)]
    *log_q, log_prior, log_data = (nats.double().view(times, size) for nats in found)
    return log_q, log_prior, log_data


def _widened(noise: Tensor, scale: Tensor, factor: float) -> Tensor:
    """Log N(mean + noise * scale; mean, (factor * scale) squared) summed over a row, (B,)."""
    single = -0.5 * (noise / factor) ** 2 - (factor * scale).log() - 0.5 * math.log(2 * math.pi)
    return single.flatten(1).sum(1)
