"""Complete likelihood (CoLLike): data paired with latents drawn once from the prior.

KL( q(x) delta(z = z_pi(n)) || p(z) p(x|z) ) = -log N - (1/N) sum_n log p(x_n, z_pi(n)) for N
distinct rows and discrete z (CoLLike, eq. 2 and Table 1; `collike-joint-kl`). The pairing pi is
improved by assignment, the parameters by descent. The paper's Algorithm 1 subtracts the gradient
of a likelihood to be maximised; here the loss is the negative, to be descended.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lvmlab.joint import Batch, Evaluation, Joint


def complete_likelihood(p: Joint, q: Joint, batch: Batch) -> Evaluation:
    """The negative log-likelihood of the pairs, -log p(x, z) with z from the stored assignment.

    q: a joint such as {"x": None, "z|index": Assignment(...)}; the batch holds `index`. loss: mean
    over the batch. Terms (B,) nats: `distortion` = -log p(x|z), `latent_nll` = -log p(z).
    -(distortion + latent_nll) is a lower bound on log p(x) for discrete z ONLY: a density in z can
    exceed 1, and then so can the value exceed log p(x) (`collike-lower-bound`).
    """
    paired = q.draw(batch)
    decoded = p.score(paired.values)
    latents = [v for v in paired.values if v not in batch]
    distortion, latent_nll = -decoded.nats(batch), -decoded.nats(latents)
    return Evaluation(
        (distortion + latent_nll).mean(), {"distortion": distortion, "latent_nll": latent_nll}
    )


def pair_scores(p: Joint, batch: Batch, latents: Batch) -> Tensor:
    """Log p(x_i, z_j) of every row i of the batch with every latent j, (B, M) nats, no gradient.

    Latents that are equal are scored once: with K values only K columns cost a pass, not M
    (CoLLike, section 4; `k-column-shortcut`).
    """
    size = len(next(iter(batch.values())))
    (name, stored), *others = latents.items()
    if others:
        raise ValueError(f"expected one latent variable to pair, got {sorted(latents)}")
    columns, which = torch.unique(stored, dim=0, return_inverse=True)
    rows = {n: v.repeat_interleave(len(columns), 0) for n, v in batch.items()}
    rows[name] = columns.repeat(size, *[1] * (columns.ndim - 1))
    with torch.no_grad():
        scores = p.score(rows).nats().unflatten(0, (size, len(columns)))
    return scores[:, which]


def best_pairing(scores: Tensor) -> Tensor:
    """The column for each row that maximises the total score, (B,) long: an exact assignment.

    scores: (B, B) finite numbers, larger is better; solved by `scipy.optimize`
    (`lap-vs-bruteforce`). Ties are broken arbitrarily but always in the same way.
    Raises `ValueError` for a matrix that is not square or not finite.
    """
    from scipy.optimize import linear_sum_assignment

    table = scores.detach().cpu().numpy().astype(np.float64)
    if table.ndim != 2 or table.shape[0] != table.shape[1]:
        raise ValueError(f"scores must be (B, B): a row and a latent each, got {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError(
            "scores hold NaN or infinite values: every pair needs a finite log-probability. "
            "Give the decoder a larger scale or the prior mass everywhere."
        )
    return torch.as_tensor(linear_sum_assignment(table, maximize=True)[1], device=scores.device)


def quota_posterior(p: Joint, batch: Batch, quota: Tensor | None = None) -> Tensor:
    """The best pairing of all rows at once, for latents of which value k exists quota[k] times.

    Returns one-hot rows (B, K): the z for each row that together maximise sum log p(x, z) while
    value k is used exactly quota[k] times. That is CoLLike's match on a whole data set, written as
    an E step for `steps.expect_then_maximise`. quota: (K,) whole numbers that sum to B; as even as
    possible when None, which is what a uniform prior expects. Ties are broken arbitrarily but
    always in the same way. Raises `ValueError` for a quota of another length or sum.
    """
    with torch.no_grad():
        scores = p.enumerate(batch).log_joint
    size, values = scores.shape
    if quota is None:
        quota = torch.full((values,), size // values)
        quota[: size % values] += 1
    if quota.shape != (values,) or int(quota.sum()) != size or (quota < 0).any():
        raise ValueError(
            f"quota must be {values} whole numbers from 0 up that sum to the {size} rows, got "
            f"{quota.tolist()} with sum {int(quota.sum())}: count how often each value may be used"
        )
    stock = torch.arange(values, device=scores.device).repeat_interleave(quota.to(scores.device))
    return F.one_hot(stock[best_pairing(scores[:, stock])], values).to(scores)
