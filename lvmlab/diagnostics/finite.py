"""The walk of the report for latents with finitely many values: everything is summed, not drawn."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lvmlab.diagnostics.encoded import array, chunks
from lvmlab.joint import Batch, Joint, variable_of

MOST = 2048  # combinations of latents that are enumerated


class Summed(NamedTuple):
    """Expectations over every value of the latents, row by row, in nats."""

    posteriors: np.ndarray  # (N, K), q(z|x)
    distortion: np.ndarray  # (N,)
    rate: np.ndarray  # (N,)
    nll: np.ndarray  # (N,), exact
    gap: np.ndarray  # (N,), KL(q(z|x) || p(z|x)), exact
    wanted: np.ndarray  # (N,), KL(p(z|x) || p(z)): the rate of the model's own posterior
    swapped: np.ndarray  # (N,), -log p(x|z') with z' from the aggregated posterior
    values: Batch  # (K, ...) each, the values of the latents in this order


def combinations(p: Joint, q: Joint, batch: Batch) -> int:
    """How many values all latents take together; 0 when one of them cannot be enumerated."""
    first = {name: value[:1] for name, value in batch.items()}
    drawn = q.draw(first)
    total = 1
    for text, here in p.score(drawn.values).distributions.items():
        if variable_of(text) in batch:
            continue
        if not here.has_enumerate_support:
            return 0
        total *= len(here.enumerate_support(expand=False))
    given = [d for text, d in drawn.distributions.items() if variable_of(text) not in batch]
    points = all(not d.has_enumerate_support for d in given) and len(given) == 1
    readable = all(d.has_enumerate_support for d in given) or points
    return total if readable and total <= MOST else 0


def add_up(p: Joint, q: Joint, batch: Batch) -> Summed:
    """Sum over every value of the latents; see `Summed`."""
    count = combinations(p, q, batch)
    parts = [_add_up(p, q, some) for some in chunks(batch, count)]
    pieces = zip(*(part[:3] for part in parts), strict=True)
    log_q, log_prior, log_data = (torch.cat(piece) for piece in pieces)  # (N, K) each
    posteriors = log_q.exp()
    possible = posteriors > 0
    log_joint = log_prior + log_data
    nll = -log_joint.logsumexp(1)
    log_model = log_joint + nll[:, None]  # log p(z|x)
    model = log_model.exp()

    def mean(weights: Tensor, nats: Tensor) -> np.ndarray:
        return array(torch.where(weights > 0, weights * nats, 0.0).sum(1))

    average = posteriors.mean(0).expand_as(posteriors)
    return Summed(
        posteriors=array(posteriors),
        distortion=mean(posteriors, -log_data),
        rate=mean(posteriors, torch.where(possible, log_q, 0.0) - log_prior),
        nll=array(nll),
        gap=mean(posteriors, torch.where(possible, log_q, 0.0) - log_model),
        wanted=mean(model, log_model - log_prior),
        swapped=mean(average, -log_data),
        values=parts[0][3],
    )


def _add_up(p: Joint, q: Joint, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Batch]:
    """Log q(z|x), log p(z) and log p(x|z), (B, K) each, and the values (K, ...)."""
    latents = [v for v in q.variables if v not in batch]
    size = len(next(iter(batch.values())))
    try:
        listed = q.enumerate(batch)
        log_q, values = listed.log_joint.log_softmax(1), listed.values
        values = {v: values[v] for v in latents}
    except ValueError:  # a stored value: all mass on one, no list of the others
        log_q, values = _points(p, q, batch, latents[0])
    count = log_q.shape[1]
    rows = {v: value.repeat_interleave(count, 0) for v, value in batch.items()}
    rows |= {v: value.flatten(0, 1) for v, value in values.items()}
    decoded = p.score(rows)
    data = [v for v in batch if v in p.variables]
    log_prior = decoded.nats(latents).double().view(size, count)
    log_data = decoded.nats(data).double().view(size, count)
    return log_q.double(), log_prior, log_data, {v: value[0] for v, value in values.items()}


def _points(p: Joint, q: Joint, batch: Batch, name: str) -> tuple[Tensor, Batch]:
    drawn = q.draw(batch).values
    prior = p.score(drawn).distributions
    here = next(d for text, d in prior.items() if variable_of(text) == name)
    support = here.enumerate_support(expand=False).reshape(-1, *here.event_shape)
    z = drawn[name]
    same = (z[:, None] == support).reshape(len(z), len(support), -1).all(-1)
    log_q = torch.where(same, 0.0, -math.inf)
    return log_q, {name: support.expand(len(z), *support.shape)}
