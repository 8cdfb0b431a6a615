"""Evidence lower bounds: what an encoder q(z|x) can say about log p(x).

KL( q(x) q(z|x) || p(z) p(x|z) ) = -H(q(x)) - E_q(x) bound, with
bound = E_q(z|x)[ log p(x|z) + log p(z) - log q(z|x) ] <= log p(x)
(CoLLike, Table 1; MIM thesis, eqs 3.5 and 3.6; `elbo-joint-kl`).
"""

import math

from torch import Tensor

from lvmlab.joint import Batch, Draw, Evaluation, Joint
from lvmlab.objectives.reinforce import discrete_nats, reinforced


def elbo(p: Joint, q: Joint, batch: Batch, beta: float | Tensor = 1.0) -> Evaluation:
    """The negative evidence lower bound, from one draw of q for each example.

    loss: mean of distortion + beta * rate. Terms (B,) nats: `distortion` = -log p(x|z) and `rate`
    = log q(z|x) - log p(z), so -(distortion + rate) estimates a lower bound on log p(x). With
    beta other than 1 the loss is no bound (Higgins et al. 2017); the terms stay unweighted.
    Discrete latents learn by REINFORCE, which is noisy: `summed_elbo` has their exact sum.
    """
    return bound_of(p, q.draw(batch), batch, beta)


def bound_of(p: Joint, encoded: Draw, batch: Batch, beta: float | Tensor = 1.0) -> Evaluation:
    """`elbo` of a draw of q that is there already, for objectives that need the draw as well."""
    decoded = p.score(encoded.values)
    latents = [v for v in encoded.values if v not in batch]
    distortion = -decoded.nats(batch)
    rate = encoded.nats(latents) - decoded.nats(latents)
    cost = reinforced(distortion + beta * rate, discrete_nats(encoded, batch))
    return Evaluation(cost.mean(), {"distortion": distortion, "rate": rate})


def importance_weighted(p: Joint, q: Joint, batch: Batch, samples: int = 16) -> Evaluation:
    """The importance-weighted lower bound on log p(x), from `samples` draws (Burda et al. 2016).

    loss: mean of -bound. Term `bound` (B,) nats = log (1/S) sum_s p(x, z_s) / q(z_s|x); its
    expectation rises with S to log p(x) and equals the ELBO at S = 1 (`importance-weighted-nll`).
    Memory grows with B x samples. Raises `ValueError` for fewer than one sample.
    """
    if samples < 1:
        raise ValueError(f"samples must be a whole number from 1 up, got {samples}")
    size = len(next(iter(batch.values())))
    rows = {name: value.repeat_interleave(samples, 0) for name, value in batch.items()}
    encoded = q.draw(rows)
    latents = [v for v in encoded.values if v not in batch]
    log_weights = p.score(encoded.values).nats() - encoded.nats(latents)
    bound = log_weights.unflatten(0, (size, samples)).logsumexp(1) - math.log(samples)
    nats = discrete_nats(encoded, batch)
    together = None if nats is None else nats.unflatten(0, (size, samples)).sum(1)
    return Evaluation(reinforced(-bound, together).mean(), {"bound": bound})
