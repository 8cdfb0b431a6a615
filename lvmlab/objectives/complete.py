"""Complete likelihood (CoLLike): data paired with latents drawn once from the prior.

KL( q(x) delta(z = z_pi(n)) || p(z) p(x|z) ) = -log N - (1/N) sum_n log p(x_n, z_pi(n)) for N
distinct rows and discrete z (CoLLike, eq. 2 and Table 1; `collike-joint-kl`). The pairing pi is
improved by assignment, the parameters by descent. The paper's Algorithm 1 subtracts the gradient
of a likelihood to be maximised; here the loss is the negative, to be descended.

p may be written either way round: p(z) p(x|z), or p(x) p(z|x) with `"x": None` for a p(x) that is
the same for all rows (the reverse factorisation, section 3; `nat-reverse-factorisation`).
"""

import torch
from torch import Tensor
from torch.distributions import Distribution, TransformedDistribution
from torch.nn import functional as F

from lvmlab.joint import Batch, Conditional, Evaluation, Joint, parents_of, variable_of
from lvmlab.objectives.pairing import best_pairing, soft_pairing

PAIRS = 4096  # pairs of a row and a latent that a network sees at once


def complete_likelihood(p: Joint, q: Joint, batch: Batch) -> Evaluation:
    """The negative log-likelihood of the pairs, -log p(x, z) with z from the stored assignment.

    q: a joint such as {"x": None, "z|index": Assignment(...)}; the batch holds `index`. loss: mean
    over the batch. Terms (B,) nats: `distortion` = -log p(x|z), `latent_nll` = -log p(z).
    -(distortion + latent_nll) is a lower bound on log p(x) for discrete z ONLY: a density in z can
    exceed 1, and then so can the value exceed log p(x) (`collike-lower-bound`). With the reverse
    factorisation `distortion` is -log p(x) and `latent_nll` is -log p(z|x).
    """
    paired = q.draw(batch)
    decoded = p.score(paired.values)
    latents = [v for v in paired.values if v not in batch]
    distortion, latent_nll = -decoded.nats(batch), -decoded.nats(latents)
    return Evaluation(
        (distortion + latent_nll).mean(), {"distortion": distortion, "latent_nll": latent_nll}
    )


def entropic_likelihood(
    p: Joint, q: Joint, batch: Batch, epsilon: float = 1.0, tolerance: float = 1e-3
) -> Evaluation:
    """The negative log-likelihood of pairs weighed by `soft_pairing`: CoLLike with entropic OT.

    q may store latents, or draw them anew for every batch, {"x": None, "z": prior}: with p(z|x)
    around a code that is the Sinkhorn autoencoder's distance of codes and prior (Patrini et al.
    2020). The weights are held while the loss is descended, which is the gradient of
    max_R <R, log p> + epsilon H(R). Below the loss of the best pairing it never gets, and it tends
    to it as epsilon -> 0 (`sinkhorn-limit`). Term: `pair_nll` (B,) nats, -log p(x, z) averaged over
    the latents with the row's weights. Raises `ValueError` as `soft_pairing` and `pair_scores` do.
    """
    latents = {v: z for v, z in q.draw(batch).values.items() if v not in batch}
    scores = pair_scores(p, batch, latents, gradient=True)
    pair_nll = -(soft_pairing(scores, epsilon, tolerance) * scores).sum(1)
    return Evaluation(pair_nll.mean(), {"pair_nll": pair_nll})


def pair_scores(
    p: Joint,
    batch: Batch,
    latents: Batch,
    autocast: torch.dtype | None = None,
    pairs_at_once: int = PAIRS,
    gradient: bool = False,
) -> Tensor:
    """Log p(x_i, z_j) of every row i of the batch with every latent j, (B, M) nats.

    Equal latents are scored once: with K values only K columns cost a pass, not M (CoLLike, section
    4; `k-column-shortcut`). A conditional is called once for each of its parents, K times for
    p(x|z) and B times for p(z|x), when its distribution can be expanded as torch's own can; one
    that runs a network in `log_prob` is asked pair by pair, `pairs_at_once` at a time. `autocast`
    is a lower precision for the pass, such as `torch.bfloat16`: quicker where the processor
    has it, and the match changes only where two pairings are nearly as good. Without `gradient`
    none is recorded. Raises `ValueError` for more than one latent variable, one that p
    does not have, and variables that p needs and nobody gave.
    """
    if len(latents) != 1:
        raise ValueError(f"expected one latent variable to pair, got {sorted(latents)}")
    ((name, stored),) = latents.items()
    needed = {v for text in p.factors for v in (variable_of(text), *parents_of(text))}
    if name not in needed or (missing := needed - {name, *batch}):
        problem = f"has no latent {name!r}" if name not in needed else f"needs {sorted(missing)}"
        raise ValueError(f"{p} {problem}: the batch holds {sorted(batch)}, the latents {name!r}")
    size = len(next(iter(batch.values())))
    columns, which = torch.unique(stored.detach(), dim=0, return_inverse=True)
    lower = torch.autocast(stored.device.type, autocast, enabled=autocast is not None)
    with lower, torch.set_grad_enabled(gradient and torch.is_grad_enabled()):
        scores = torch.zeros(size, len(columns), device=stored.device)
        for text in p.factors:
            family = {variable_of(text), *parents_of(text)}
            rows = {v: batch[v] for v in family - {name}}
            if name not in family:
                scores = scores + _alone(p, text, rows)[:, None]
            elif not rows:
                scores = scores + _alone(p, text, {name: columns})
            else:
                scores = scores + _crossed(p, text, rows, name, columns, pairs_at_once)
    return scores[:, which]


def extend_pairing(
    p: Joint, matched: Batch, latents: Batch, new: Batch, fresh: Batch, keep: bool = False
) -> Batch:
    """Latents for new data: append rows and fresh latents to what is matched, pair again.

    matched: data (N, ...) with their `latents` {"z": (N, *z)}; new: data (n, ...) with as many
    draws `fresh` {"z": (n, *z)} from the prior. Returns {"z": (N + n, *z)}, the matched rows first:
    the pairing of all rows that maximises sum log p(x, z), or with `keep` of the new rows alone,
    which then share the fresh latents among themselves whatever these are (CoLLike, section 4). For
    finite latents `exact_posterior` needs no draws. Raises `ValueError` for names and numbers of
    rows that disagree, and as `pair_scores` does.
    """
    if set(matched) != set(new) or set(latents) != set(fresh):
        raise ValueError(
            f"matched and new data must hold the same variables, got {sorted(matched)} and "
            f"{sorted(new)}; so must latents and fresh, got {sorted(latents)} and {sorted(fresh)}"
        )
    rows = [len(next(iter(values.values()))) for values in (matched, latents, new, fresh)]
    if rows[0] != rows[1] or rows[2] != rows[3]:
        raise ValueError(
            f"{rows[0]} matched rows came with {rows[1]} latents and {rows[2]} new rows with "
            f"{rows[3]} fresh ones: draw one latent for each row"
        )
    ((name, fresh_values),) = fresh.items()
    if keep:
        order = best_pairing(pair_scores(p, new, fresh))
        return {name: torch.cat([latents[name], fresh_values[order]])}
    both = {v: torch.cat([matched[v], new[v]]) for v in matched}
    stock = torch.cat([latents[name], fresh_values])
    return {name: stock[best_pairing(pair_scores(p, both, {name: stock}))]}


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


def _alone(p: Joint, text: str, values: Batch) -> Tensor:
    """One factor of p, with all the checks of a joint, (B,) nats."""
    return Joint(p.name, {text: p.factors[text]}, p.validate).score(values).nats()


def _crossed(p: Joint, text: str, rows: Batch, name: str, columns: Tensor, pairs: int) -> Tensor:
    """A factor that holds the latent and data, for every row with every column, (B, K) nats."""
    factor, parents = p.factors[text], parents_of(text)
    if factor is not None and parents == [name]:  # p(x|z): one call for all rows of x
        wide = _expanded(factor, [columns], rows[variable_of(text)], pairs)
    elif factor is not None and name not in parents:  # p(z|x): one call for all latents
        wide = _expanded(factor, [rows[v] for v in parents], columns, pairs)
        wide = None if wide is None else wide.T
    else:
        wide = None
    if wide is not None:
        return wide
    size = len(next(iter(rows.values())))
    scores = []
    for pair in torch.arange(size * len(columns), device=columns.device).split(pairs):
        row, column = pair // len(columns), pair % len(columns)
        values = {v: given[row] for v, given in rows.items()} | {name: columns[column]}
        scores.append(_alone(p, text, values))
    return torch.cat(scores).unflatten(0, (size, len(columns)))


def _expanded(
    factor: Conditional, parents: list[Tensor], values: Tensor, pairs: int
) -> Tensor | None:
    """Every value under every row of parents, (V, R); None when the distribution cannot do it."""
    some_parents = []
    for given in zip(*(v.split(pairs) for v in parents), strict=True):
        here = factor(*given)
        if not _expandable(here, values):
            return None
        scores = []
        for some in values.split(max(1, pairs // len(given[0]))):
            wide = here.expand(torch.Size([len(some), *here.batch_shape]))
            scores.append(wide.log_prob(some[:, None]))
        some_parents.append(torch.cat(scores))
    return torch.cat(some_parents, 1)


def _expandable(here: Distribution, values: Tensor) -> bool:
    if here.event_shape != values.shape[1:] or len(here.batch_shape) != 1:
        return False  # the error that follows pair by pair says more
    if isinstance(here, TransformedDistribution):  # a flow: its networks want one value a row
        return False
    try:
        here.expand(torch.Size([1, *here.batch_shape]))
    except NotImplementedError:  # torch's own answer for a class that brings no expand
        return False
    return True
