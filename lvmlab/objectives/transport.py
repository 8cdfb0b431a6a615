"""Optimal transport: a cost of reconstruction, and codes that match the prior as a whole.

W = min over q with E_q(x) q(z|x) = p(z) of E_q(x) E_q(z|x) c(x, g(z)) bounds the transport cost
of q(x) and p(x) from above, with equality for a deterministic decoder g (GM-WAE paper, eqs 9 and
10; `wae-upper-bound`). The constraint is relaxed to a divergence of two sets of points, codes and
draws from the prior. Each row of the data may bring K weighted codes, one for each component.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lvmlab.joint import Batch, Evaluation, Joint, parents_of, variable_of
from lvmlab.objectives.summed import summed_out

BANDWIDTHS = tuple(digit * 10.0**power for power in range(-2, 3) for digit in (1, 2, 5))
"""C of the 15 kernels C / (C + |a - b|^2), squared lengths (GM-WAE paper, section 2.2)."""


def wasserstein(
    p: Joint,
    q: Joint,
    batch: Batch,
    weight: float = 500.0,
    divergence: Callable[..., Tensor] | None = None,
    same: float = 0.0,
    over: str | None = "k",
    draws: int | None = None,
    least: float = 0.0,
) -> Evaluation:
    """Squared error of the reconstructions + weight * divergence of q(z) from p(z).

    The relaxed transport objective (GM-WAE paper, eq. 16) with k summed out exactly; `over=None`
    for joints without k (Tolstikhin et al. 2018). The decoder is read as deterministic: what counts
    is the mean of p(x|z). divergence: `mmd` when None; or `sinkhorn_divergence`. same: with a
    number above 0 the kernel is k(z, z') (1 + same [k = k']), which compares q(z, k) with
    p(z, k), eq. 12; with 0 it sees z only and leaves the proportions of k free. draws: points from
    the prior, as many as the batch has rows when None. least: as in `summed_out`; with 0.001 a step
    is the cheaper the sharper q(k|x) is.

    Terms (B,): `squared_error`, summed over pixels, in squared units of x; `divergence`, one
    number for the batch, repeated. MMD^2 can be negative, and so can the loss.
    Raises `ValueError` as `summed_out` and the divergence do, and for latents of several kinds.
    """
    if same and getattr(divergence, "func", divergence) is sinkhorn_divergence:
        raise ValueError(
            "same weighs [k = k'] in the kernel of mmd, and sinkhorn_divergence has no kernel: "
            f"got same={same}, take 0, or divergence=None"
        )
    size = len(next(iter(batch.values())))
    weights: Tensor | None = None
    if over is None:
        rows = q.draw(batch).values
        error = _squared_error(p, batch, rows)
    else:
        encoded = summed_out(q, batch, over, least)
        rows, weights = encoded.draw.values, encoded.log_weights.exp()
        error = encoded.mean(_squared_error(p, batch, rows))
    latents = {t: f for t, f in p.factors.items() if variable_of(t) not in batch}
    codes = [v for v in map(variable_of, latents) if v != over]
    if len(codes) != 1:
        raise ValueError(f"expected one latent to compare with the prior, {p} has {codes}")
    prior = Joint(p.name, latents, p.validate).draw(size=draws or size).values
    z, y = (v[codes[0]].reshape(len(v[codes[0]]), -1) for v in (rows, prior))
    given: dict[str, Any] = {"same": same} if same else {}
    if over is not None:
        z = encoded.table(z)
        if same:
            given["kinds"] = encoded.table(rows[over]), prior[over]
    apart = (divergence or mmd)(z, y, weights, **given)
    return Evaluation(
        error.mean() + weight * apart,
        {"squared_error": error, "divergence": apart.expand(size)},
    )


def mmd(
    z: Tensor,
    y: Tensor,
    weights: Tensor | None = None,
    kinds: tuple[Tensor, Tensor] | None = None,
    same: float = 0.0,
    bandwidths: Sequence[float] = BANDWIDTHS,
    unbiased: bool = True,
) -> Tensor:
    """The squared maximum mean discrepancy of two sets of points, (), from samples.

    z: (B, D), or (B, K, D) with weights (B, K) whose rows sum to 1: then a row stands for its
    mixture of K points. y: (M, D). The kernel is the sum of C / (C + |a - b|^2) over `bandwidths`,
    times 1 + same [k = k'] when `kinds`, (B, K) or (B,) and (M,), are given. Unbiased: pairs of a
    row with itself are left out, over i != j, so the number can be negative (GM-WAE paper, eq. 13,
    which prints MMD for MMD^2; `mmd-u-statistic`; `mmd-exact-discrete`). Otherwise they are kept
    and it is 0 or more.
    Raises `ValueError` for shapes that disagree, weights that do not sum to one, bandwidths that
    are not positive, a negative `same`, and sets of one row, which have no pairs.
    """
    z, weights = _points(z, y, weights)
    if not bandwidths or not all(0 < c < float("inf") for c in bandwidths):
        raise ValueError(
            f"bandwidths must be positive squared lengths, got {tuple(bandwidths)}: "
            "leave the argument out for those of the paper"
        )
    if same < 0 or (same > 0 and kinds is None):
        raise ValueError(f"same must be 0 or more, and above 0 needs kinds, got {same} and {kinds}")
    n, m = len(z), len(y)
    if unbiased and min(n, m) < 2:
        raise ValueError(
            f"z and y must have 2 rows or more, got {n} and {m}: a U-statistic is a mean over "
            "pairs of different rows. Take a larger batch, or unbiased=False"
        )
    flat, w = z.flatten(0, 1), weights.flatten()
    row = torch.arange(n, device=z.device).repeat_interleave(z.shape[1])
    own, other = (None, None) if kinds is None else (kinds[0].flatten(), kinds[1])
    if not (counts := w > 0).all():  # points without weight are left out
        flat, w, row = flat[counts], w[counts], row[counts]
        own = None if own is None else own[counts]
    zz = _kernel(flat, flat, own, own, same, bandwidths)
    yy = _kernel(y, y, other, other, same, bandwidths)
    zy = _kernel(flat, y, own, other, same, bandwidths)
    between = (w @ zy).sum() / (n * m)
    if not unbiased:
        return (w @ zz @ w) / n**2 + yy.sum() / m**2 - 2 * between
    within_z = w @ (zz * (row[:, None] != row)) @ w
    within_y = yy.sum() - yy.diagonal().sum()
    return within_z / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * between


def sinkhorn_divergence(
    z: Tensor,
    y: Tensor,
    weights: Tensor | None = None,
    epsilon: float = 0.1,
    iterations: int = 100,
    tolerance: float = 1e-3,
) -> Tensor:
    """The debiased entropic transport cost of two sets of points, (), squared distances.

    S(z, y) - (S(z, z) + S(y, y)) / 2 with S = min <R, |a - b|^2> + epsilon KL(R || product), which
    is 0 for equal sets and tends to W_2^2 as epsilon -> 0 (Genevay et al. 2018). epsilon is a
    squared distance. Points and weights as for `mmd`; both get gradients, from the potentials held
    at their optimum. Sinkhorn's iterations end when rows keep their mass within `tolerance`
    (relative), or after so many.
    Raises `ValueError` as `mmd` does, and for an epsilon that is not positive.
    """
    z, weights = _points(z, y, weights)
    if not 0 < epsilon < float("inf"):
        raise ValueError(f"epsilon must be a positive squared distance, got {epsilon}: try 0.1")
    a, b = z.flatten(0, 1), y
    wa, wb = weights.flatten() / len(z), y.new_full((len(y),), 1 / len(y))
    costs = [
        _entropic_cost(_squares(left, right), wl, wr, epsilon, iterations, tolerance)
        for left, right, wl, wr in ((a, b, wa, wb), (a, a, wa, wa), (b, b, wb, wb))
    ]
    return costs[0] - (costs[1] + costs[2]) / 2


def _squared_error(p: Joint, batch: Batch, rows: Batch) -> Tensor:
    """|x - mean of p(x|z)|^2 of each row, summed over pixels and over all data that p decodes."""
    total: Tensor | None = None
    for text, factor in p.factors.items():
        if factor is None or variable_of(text) not in batch:
            continue
        x, mean = rows[variable_of(text)], factor(*(rows[v] for v in parents_of(text))).mean
        if mean.shape != x.shape:
            raise ValueError(
                f"the mean of {p.name}({text}) has shape {tuple(mean.shape)}, the data "
                f"{tuple(x.shape)}: a reconstruction needs the shape of the data"
            )
        error = (x - mean).square().reshape(len(x), -1).sum(1)
        total = error if total is None else total + error
    if total is None:
        raise ValueError(f"{p} decodes none of the batch's variables {sorted(batch)}")
    return total


def _points(z: Tensor, y: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Z as (B, K, D) and its weights (B, K), checked."""
    if weights is None and z.ndim == 2:
        z, weights = z[:, None], z.new_ones(len(z), 1)
    if weights is None or z.ndim != 3 or y.ndim != 2 or z.shape[2:] != y.shape[1:]:
        raise ValueError(
            f"z must be (B, D), or (B, K, D) with weights (B, K), and y (M, D); got z "
            f"{tuple(z.shape)}, y {tuple(y.shape)}" + (", no weights" if weights is None else "")
        )
    if weights.shape != z.shape[:2]:
        raise ValueError(
            f"weights must be {tuple(z.shape[:2])}, one for each point of z, got "
            f"{tuple(weights.shape)}"
        )
    off = (weights.detach().sum(1) - 1).abs().max()
    if weights.device.type == "cpu" and not off < 1e-3:
        raise ValueError(
            f"the rows of weights must sum to 1, one is off by {off.item():.3g}: "
            "divide each row by its sum"
        )
    return z, weights


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances of all pairs, (N, M)."""
    cross = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T
    return cross.clamp_min(0)


def _kernel(
    a: Tensor,
    b: Tensor,
    kind_a: Tensor | None,
    kind_b: Tensor | None,
    same: float,
    bandwidths: Sequence[float],
) -> Tensor:
    values, _ = _Multiquadratic.apply(_squares(a, b), tuple(bandwidths))
    if same and kind_a is not None and kind_b is not None:
        values = values * (1 + same * (kind_a[:, None] == kind_b))
    return values


class _Multiquadratic(torch.autograd.Function):
    """sum_C C / (C + s) of squared distances s, with its slope computed on the way.

    Autograd would keep 15 tables for the way back and read them all again.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(squares: Tensor, bandwidths: tuple[float, ...]) -> tuple[Tensor, Tensor]:
        values, slopes = torch.zeros_like(squares), torch.zeros_like(squares)
        for c in bandwidths:
            one = c / (squares + c)
            values = values + one
            slopes = slopes - one.square() / c
        return values, slopes

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return grad * ctx.saved_tensors[0], None


def _entropic_cost(
    costs: Tensor, wa: Tensor, wb: Tensor, epsilon: float, iterations: int, tolerance: float
) -> Tensor:
    """The dual value at Sinkhorn's potentials: its slope is that of the optimum."""
    with torch.no_grad():
        f, g = _potentials(costs, wa, wb, epsilon, iterations, tolerance)
    plan = wa[:, None] * wb * ((f[:, None] + g - costs) / epsilon).exp()
    return wa @ f + wb @ g - epsilon * (plan.sum() - 1)


def _potentials(
    costs: Tensor, wa: Tensor, wb: Tensor, epsilon: float, iterations: int, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Sinkhorn in logarithms, cooled by halves from the largest cost to epsilon."""
    log_a, log_b = wa.clamp_min(1e-30).log(), wb.clamp_min(1e-30).log()
    g = torch.zeros_like(wb)
    heat = max(epsilon, costs.max().item())
    while True:
        last = heat <= epsilon
        heat = max(heat, epsilon)
        for _ in range(iterations if last else 5):
            f = -heat * ((g - costs) / heat + log_b).logsumexp(1)
            before, g = g, -heat * ((f[:, None] - costs) / heat + log_a[:, None]).logsumexp(0)
            if last and (before - g).abs().max() < tolerance * heat:
                break
        if last:
            return f, g
        heat /= 2
