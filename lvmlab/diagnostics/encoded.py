"""What one walk over the data finds: costs of each row, latents, and what other latents would cost.

Everything runs in chunks of rows; arrays of one number a row come back on the CPU in float64.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from lvmlab.joint import Batch, Draw, Joint, variable_of

CELLS = 2**21  # numbers of one variable that are in memory at once
WIDTHS = (0.125, 0.25, 0.5, 2.0, 4.0, 8.0)  # factors on the encoder's scale that are tried


class Encoded(NamedTuple):
    """The rows of the data under p and q, in nats, and the latents that were drawn for them."""

    distortion: np.ndarray  # (N,), -log p(x|z)
    rate: np.ndarray  # (N,), KL(q(z|x) || p(z)): its closed form, else log q(z|x) - log p(z)
    closed_form: bool
    latents: Batch  # (N, ...) each, drawn
    moments: dict[str, tuple[np.ndarray, np.ndarray]]  # mean and scale (N, D) of real latents
    gaussian: bool  # one latent variable with a diagonal Gaussian posterior
    by_dimension: dict[str, np.ndarray]  # (N, D) rates of single dimensions
    has_density: bool  # False for an encoder that puts all mass on a point


def chunks(batch: Batch, copies: int = 1) -> Iterator[Batch]:
    """The batch in pieces that fit in memory when each row is repeated `copies` times."""
    widest = max(value[0].numel() for value in batch.values())
    size = max(1, CELLS // (max(widest, 64) * copies))
    rows = len(next(iter(batch.values())))
    for first in range(0, rows, size):
        yield {name: value[first : first + size] for name, value in batch.items()}


def encode(p: Joint, q: Joint, batch: Batch) -> Encoded:
    """Draw the latents of every row once and score them, `Encoded`."""
    parts = [_encode(p, q, some) for some in chunks(batch)]
    first = parts[0]
    closed = first.closed_form

    def joined(name: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key in getattr(first, name):
            values = [getattr(part, name)[key] for part in parts]
            if isinstance(values[0], tuple):
                found[key] = tuple(np.concatenate(v) for v in zip(*values, strict=True))
            elif isinstance(values[0], Tensor):
                found[key] = torch.cat(values)
            else:
                found[key] = np.concatenate(values)
        return found

    return Encoded(
        np.concatenate([part.distortion for part in parts]),
        np.concatenate([part.rate for part in parts]),
        closed,
        joined("latents"),
        joined("moments"),
        first.gaussian,
        joined("by_dimension"),
        all(part.has_density for part in parts),
    )


def _encode(p: Joint, q: Joint, batch: Batch) -> Encoded:
    encoded = q.draw(batch)
    decoded = p.score(encoded.values)
    latents = [v for v in encoded.values if v not in batch]
    closed = [_closed(encoded, decoded, v) for v in latents]
    sampled = encoded.nats(latents) - decoded.nats(latents)
    rate = sum(c for c in closed if c is not None) if None not in closed else sampled
    moments, by_dimension = {}, {}
    for v in latents:
        given, prior = factor_of(encoded, v), factor_of(decoded, v)
        if (found := _moments(given)) is not None:
            moments[v] = tuple(_flat(part) for part in found)
        rates = _dimension_rates(given, prior, encoded.values[v])
        if rates is not None:
            by_dimension[v] = _flat(rates)
    return Encoded(
        array(-decoded.nats([v for v in batch if v in p.variables])),
        array(rate),  # type: ignore[arg-type]
        None not in closed,
        {v: encoded.values[v] for v in latents},
        moments,  # type: ignore[arg-type]
        len(latents) == 1 and diagonal(factor_of(encoded, latents[0])) is not None,
        by_dimension,
        all(_has_density(factor_of(encoded, v), encoded.values[v]) for v in latents),
    )


def swapped(p: Joint, batch: Batch, latents: Batch, order: np.ndarray) -> np.ndarray:
    """-log p(x|z') (N,) when each row gets the latents of another one, the next in `order`."""
    rows = torch.as_tensor(np.roll(order, -1)[np.argsort(order)], device=_device_of(batch))
    data = [v for v in batch if v in p.variables]
    others = {v: value[rows] for v, value in latents.items()}
    costs = [-p.score(some).nats(data) for some in chunks(batch | others)]
    return array(torch.cat(costs))


def width_gains(p: Joint, q: Joint, batch: Batch) -> dict[float, np.ndarray]:
    """Nats of bound (N,) that the rows gain when the encoder's scale is multiplied by a factor.

    For one latent with a diagonal Gaussian posterior; the same noise for all factors.
    """
    gains: dict[float, list[np.ndarray]] = {factor: [] for factor in WIDTHS}
    for some in chunks(batch):
        drawn = q.draw(some)
        (name,) = (v for v in drawn.values if v not in some)
        mean, _ = diagonal(factor_of(drawn, name))  # type: ignore[misc]
        cost = drawn.nats([name]) - p.score(drawn.values).nats()
        for factor in WIDTHS:
            z = mean + factor * (drawn.values[name] - mean)
            density = drawn.nats([name]) - z[0].numel() * math.log(factor)
            now = density - p.score(drawn.values | {name: z}).nats()
            gains[factor].append(array(cost - now))
    return {factor: np.concatenate(found) for factor, found in gains.items()}


def diagonal(here: Distribution) -> tuple[Tensor, Tensor] | None:
    """Mean and scale of a distribution that is a diagonal Gaussian over its whole event."""
    if isinstance(here, Independent):
        return diagonal(here.base_dist)
    return (here.mean, here.stddev) if isinstance(here, Normal) else None


def densities(q: Joint, batch: Batch, latents: Batch) -> np.ndarray:
    """All pairs log q(z_i | x_j), (N, N), of the given rows.

    One call of the encoder serves all z when its distribution takes them side by side; with
    several latents, whose later ones depend on earlier ones, every pair is scored.
    """
    rows = len(next(iter(batch.values())))
    names = list(latents)
    if len(names) == 1:
        found = _beside(q, batch, latents[names[0]], names[0])
        if found is not None:
            return found
    lines = []
    for i in range(rows):
        pair = {v: value[i].expand(rows, *value.shape[1:]) for v, value in latents.items()}
        lines.append(array(q.score(batch | pair).nats(names)))
    return np.stack(lines)


def _beside(q: Joint, batch: Batch, z: Tensor, name: str) -> np.ndarray | None:
    here = factor_of(q.draw(batch | {name: z}), name)
    rows = len(z)
    blocks = []
    for some in z.split(max(1, CELLS // (8 * rows * max(1, z[0].numel())))):
        try:
            block = here.log_prob(some[:, None])
        except (RuntimeError, ValueError):
            return None
        if block.shape != (len(some), rows):
            return None
        blocks.append(array(block))
    return np.concatenate(blocks)


def responsibilities(prior: Distribution, z: Tensor) -> np.ndarray | None:
    """p(k|z) (N, K) of the components of a mixture prior; None for another prior."""
    if not isinstance(prior, MixtureSameFamily):
        return None
    parts = [
        (prior.component_distribution.log_prob(some[:, None]) + _log_weights(prior)).softmax(-1)
        for some in z.split(max(1, CELLS // (z[0].numel() * len(_log_weights(prior)))))
    ]
    return array(torch.cat(parts))


def prior_of(p: Joint, latents: Batch, batch: Batch, name: str) -> Distribution:
    """The distribution that p gives this latent, for these rows."""
    return factor_of(p.score(batch | latents), name)


def marginal_densities(prior: Distribution, grid: Tensor) -> np.ndarray | None:
    """Log p(z_d) of a prior without parents on grids (G, D); None when it has no such formula."""
    here = prior
    while isinstance(here, Independent):
        here = here.base_dist
    if isinstance(here, Normal) and here.batch_shape == grid.shape[1:]:
        return array(here.log_prob(grid))
    if isinstance(prior, MixtureSameFamily) and not prior.batch_shape:
        parts = prior.component_distribution
        if (found := diagonal(parts)) is not None:
            single = Normal(*found).log_prob(grid[:, None])  # (G, K, D)
            return array((single + _log_weights(prior)[:, None]).logsumexp(1))
    return None


def _closed(encoded: Draw, decoded: Draw, variable: str) -> Tensor | None:
    """KL(q(v|.) || p(v|.)) (B,) where torch knows a formula."""
    given, prior = factor_of(encoded, variable), factor_of(decoded, variable)
    try:
        nats = kl_divergence(given, prior)
    except (NotImplementedError, ValueError, RuntimeError):
        return None
    rows = len(encoded.values[variable])
    return nats if nats.shape == (rows,) and not nats.isnan().any() else None


def _dimension_rates(given: Distribution, prior: Distribution, z: Tensor) -> Tensor | None:
    """KL of single dimensions to the prior's (B, *D): in closed form, else at the draw."""
    found = _moments(given)
    if found is None or z.ndim < 2:
        return None
    own = Normal(*found)
    if (other := diagonal(prior)) is not None:
        return kl_divergence(own, Normal(*other)).expand_as(z)
    rows = z.flatten(1)
    nats = marginal_densities(prior, rows)
    if nats is None:
        return None
    own = Normal(found[0].flatten(1), found[1].flatten(1))
    return own.log_prob(rows) - torch.as_tensor(nats).to(rows)


def _moments(here: Distribution) -> tuple[Tensor, Tensor] | None:
    """Mean and scale of each dimension where they are those of a Gaussian marginal."""
    if isinstance(here, MultivariateNormal):
        return here.mean, here.variance.sqrt()
    return diagonal(here)


def _has_density(here: Distribution, value: Tensor) -> bool:
    """Whether values beside the drawn one are possible too: a point mass allows none.

    Whole numbers are exact as they are: there a point is a probability.
    """
    if not value.is_floating_point():
        return True
    try:
        beside = here.log_prob(value + 1e-3 * (1 + value.abs()))
        own = here.log_prob(value)
    except (ValueError, NotImplementedError):
        return True
    return not bool((beside == -math.inf).all() and (own == 0).all())


def factor_of(draw: Draw, variable: str) -> Distribution:
    """The distribution that drew or scored this variable."""
    return next(d for text, d in draw.distributions.items() if variable_of(text) == variable)


def _log_weights(prior: MixtureSameFamily) -> Tensor:
    return prior.mixture_distribution.logits.log_softmax(-1)


def _flat(value: Tensor) -> np.ndarray:
    return array(value.flatten(1) if value.ndim > 1 else value[:, None])


def array(value: Tensor) -> np.ndarray:
    """A tensor's numbers on the CPU, in float64."""
    return value.detach().double().cpu().numpy()


def _device_of(batch: Batch) -> torch.device:
    return next(iter(batch.values())).device
