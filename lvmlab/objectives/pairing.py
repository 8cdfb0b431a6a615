"""Pairings of a square matrix of scores: the best permutation, and its entropic relaxation.

max over permutations of sum_n S[n, pi(n)] = max over doubly stochastic R of <R, S>: linear, so the
best coupling is attained at a permutation (CoLLike, appendix D; `birkhoff-lp`). Adding an entropy
makes it unique and smooth: max <R, S> + epsilon H(R) (Cuturi 2013).
"""

import math

import torch
from torch import Tensor


def best_pairing(scores: Tensor) -> Tensor:
    """The column for each row that maximises the total score, (B,) long: an exact assignment.

    scores: (B, B) finite numbers, larger is better; solved by `scipy.optimize`
    (`lap-vs-bruteforce`). Ties are broken arbitrarily but always in the same way.
    Raises `ValueError` for a matrix that is not square or not finite.
    """
    from scipy.optimize import linear_sum_assignment

    table = _table(scores).cpu()
    priced = (table + _prices(table)).numpy()
    return torch.as_tensor(linear_sum_assignment(priced, maximize=True)[1], device=scores.device)


def soft_pairing(
    scores: Tensor, epsilon: float, tolerance: float = 1e-6, iterations: int = 2000
) -> Tensor:
    """Weights R (B, B) that maximise <R, scores> + epsilon H(R), rows and columns summing to one.

    scores: (B, B) nats. Sinkhorn's iterations in logarithms, the temperature lowered from the
    spread of the scores to `epsilon` by halves; they end when every row sums to one within
    `tolerance`, or after so many at the last temperature. What is then missing is spread over the
    cells (Altschuler et al. 2017, Algorithm 2), so that the total <R, scores> is never above that
    of `best_pairing`, to which it tends as epsilon -> 0 (`sinkhorn-limit`). No gradient.
    Raises `ValueError` as `best_pairing` does, and for an epsilon that is not positive.
    """
    if not 0 < epsilon < math.inf:
        raise ValueError(f"epsilon must be positive, got {epsilon}: for the limit use best_pairing")
    table = _table(scores)
    columns = table.new_zeros(len(table))  # potentials, in nats
    temperature = max(epsilon, (table.max() - table.min()).item())
    while True:
        last = temperature <= epsilon
        temperature = max(temperature, epsilon)
        rows, columns = _sinkhorn(
            table, columns, temperature, tolerance if last else 1e-2, iterations if last else 100
        )
        if last:
            break
        temperature /= 2
    weights = ((table + rows[:, None] + columns) / temperature).exp()
    weights = weights / weights.sum(1, keepdim=True).clamp_min(1)
    weights = weights / weights.sum(0).clamp_min(1)
    rest = (1 - weights.sum(1)).clamp_min(0)
    if rest.sum() > 0:
        weights = weights + rest[:, None] * (1 - weights.sum(0)).clamp_min(0) / rest.sum()
    return weights.to(scores.dtype)


def _sinkhorn(
    table: Tensor, columns: Tensor, temperature: float, tolerance: float, iterations: int
) -> tuple[Tensor, Tensor]:
    """Potentials in nats at one temperature: columns sum to one, rows nearly."""
    scaled, columns = table / temperature, columns / temperature
    rows = -(scaled + columns).logsumexp(1)
    for done in range(1, iterations + 1):
        columns = -(scaled + rows[:, None]).logsumexp(0)
        before, rows = rows, -(scaled + columns).logsumexp(1)
        if done % 10 == 0 and torch.expm1(before - rows).abs().max() < tolerance:
            break
    return rows * temperature, columns * temperature


def _prices(table: Tensor) -> Tensor | float:
    """One number a column that evens out the demand; no pairing gains or loses by it.

    With few distinct columns the solver meets ties without end: 1,797 rows on 10 values take it
    five times as long as random numbers do. Prices at which every value is wanted about as often as
    it is there (Sinkhorn's, cooled to a thousandth of the spread) take that away.
    """
    size = len(table)
    _, which, counts = torch.unique(table[0], return_inverse=True, return_counts=True)
    if size < 512 or 8 * len(counts) > size:
        return 0.0
    first = torch.full_like(counts, size).scatter_reduce_(0, which, torch.arange(size), "amin")
    distinct = table[:, first]
    if not torch.equal(distinct[:, which], table):
        return 0.0
    temperature = max(float(distinct.max() - distinct.min()), 1e-300)
    wanted, prices = (counts / size).log(), torch.zeros(len(counts), dtype=table.dtype)
    for _ in range(6):
        for _ in range(5):
            shares = ((distinct + prices) / temperature).log_softmax(1)
            prices = prices + temperature * (wanted - shares.logsumexp(0) + math.log(size))
        temperature /= 4
    return prices[which]


def _table(scores: Tensor) -> Tensor:
    """Scores in double precision, checked."""
    shape = tuple(scores.shape)
    if scores.ndim != 2 or shape[0] != shape[1]:
        raise ValueError(f"scores must be (B, B): a row and a latent each, got {shape}")
    table = scores.detach().double()
    if not table.isfinite().all():
        raise ValueError(
            "scores hold NaN or infinite values: every pair needs a finite log-probability. "
            "Give the decoder a larger scale or the prior mass everywhere."
        )
    return table
