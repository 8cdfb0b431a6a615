"""Likelihoods: estimated by importance sampling, and in the units in which papers report them."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lvmlab.diagnostics import arrays
from lvmlab.train import evaluating

EXAMPLES = 50  # examples scored at once; together with `chunk` this sets the memory


def log_mean_exp(log_weights: Any, axis: int = 0) -> np.ndarray | float:
    """Logarithm of the mean of exp(log_weights) along one axis, without overflow, in nats.

    For importance weights log w = log p(x, z) - log q(z|x) its negative is the importance-weighted
    NLL, never above the mean of -log w, the negative ELBO of the same samples. Weights of zero
    (-infinity) are fine. Raises `ValueError` for NaN, +infinity, and an axis without entries.

    Source: Burda, Grosse and Salakhutdinov (2016), equation 8.
    """
    log_weights = arrays.non_empty("log_weights", arrays.numeric("log_weights", log_weights))
    peak = log_weights.max(axis, keepdims=True)
    if np.isnan(peak).any() or (peak == np.inf).any():
        raise ValueError(
            "log_weights must hold no NaN and no +infinity, but does. Check that the parameters of "
            "p and q are finite, and that q has a floor under its scale."
        )
    peak = np.where(peak == -np.inf, 0.0, peak)
    with np.errstate(divide="ignore"):  # all weights zero: -infinity
        # scipy's logsumexp takes 20 times as long on the large matrices of `information`
        mean = np.log(np.exp(log_weights - peak).mean(axis)) + peak.squeeze(axis)
    return float(mean) if mean.ndim == 0 else mean


def importance_weighted_nll(
    p: nn.Module,
    q: nn.Module,
    batch: dict[str, Tensor],
    samples: int = 500,
    chunk: int = 100,
) -> np.ndarray:
    """Estimate of -log p(x) for each example, (B,), in nats, from samples of q(z|x).

    p and q are the decoding and the encoding joint; what q draws beyond the batch is the latents.
    The estimate is an upper bound on the NLL on average, and falls towards it with `samples`.
    `chunk` samples of 50 examples are in memory at once, so a whole test set may be the batch. The
    batch is moved to the device of the parameters; no gradients; layers such as dropout are in
    evaluation mode during the call and back in their own mode after it. Raises `ValueError` for an
    empty batch, different lengths, NaN or infinity in the batch or in the weights, and samples or
    chunk below 1.

    Source: Burda, Grosse and Salakhutdinov (2016), equation 8.
    """
    samples = arrays.whole_number("samples", samples, 1)
    chunk = arrays.whole_number("chunk", chunk, 1)
    batch = _checked(batch, _device(p, q))
    size = len(next(iter(batch.values())))
    nll = []
    with torch.no_grad(), evaluating({"p": p, "q": q}):
        for first in range(0, size, EXAMPLES):
            some = {name: value[first : first + EXAMPLES] for name, value in batch.items()}
            nll.append(_nll(p, q, some, samples, chunk))
    return np.concatenate(nll)


def bits_per_dim(nats: Any, dimensions: int, bins: float = 1) -> float | np.ndarray:
    """Negative log-likelihood in bits for each dimension: nats / (D log 2) + log2(bins).

    nats: of one example, or an array of examples (the answer has its shape). dimensions: D, such as
    3 x 32 x 32. bins: how many values of the original data fall into one unit of the data that the
    density was fitted to; 256 for 8-bit pixels scaled to [0, 1], 128 for [-1, 1], 1 for pixels
    0 ... 255 as they are. Raises `ValueError` for NaN, dimensions below 1, and bins not positive.
    """
    value = arrays.finite("nats", nats)
    dimensions = arrays.whole_number("dimensions", dimensions, 1)
    if not (np.isfinite(bins) and bins > 0):
        raise ValueError(
            f"bins must be a positive number, but is {bins!r}. Take 256 for 8-bit data in [0, 1]."
        )
    bits = value / (dimensions * math.log(2)) + math.log2(bins)
    return float(bits) if bits.ndim == 0 else bits


def perplexity(nll: Any, tokens: Any) -> float:
    """Perplexity of a text: exp of the summed NLL in nats over the number of tokens.

    Either two totals, or two arrays of one shape with one entry for each sentence, which are summed
    first: the mean is over tokens, not over sentences. Raises `ValueError` for NaN, different
    shapes (a mean NLL with a total of tokens is the usual mistake), and tokens that are not
    positive.
    """
    nll, tokens = arrays.finite("nll", nll), arrays.finite("tokens", tokens)
    if nll.shape != tokens.shape:
        raise ValueError(
            "nll and tokens must both be totals or both have one entry for each sentence, but "
            f"have shapes {nll.shape} and {tokens.shape}. Sum both, or neither."
        )
    if tokens.min() < 0 or tokens.sum() == 0:
        raise ValueError(
            f"tokens must be counts with a positive sum, but have minimum {tokens.min():.4g} and "
            f"sum {tokens.sum():.4g}. Count the end-of-sentence token if the NLL includes it."
        )
    with np.errstate(over="ignore"):  # a diverged model: infinity is the answer
        return float(np.exp(nll.sum() / tokens.sum()))


def _nll(p: Any, q: Any, batch: dict[str, Tensor], samples: int, chunk: int) -> np.ndarray:
    """Sums the weights chunk by chunk, so that memory does not grow with the samples, (B,)."""
    size = len(next(iter(batch.values())))
    log_sum = np.full(size, -np.inf)
    for done in range(0, samples, chunk):
        times = min(chunk, samples - done)
        repeated = {k: v.repeat(times, *[1] * (v.dim() - 1)) for k, v in batch.items()}
        draw = q.draw(repeated)
        latents = draw.values.keys() - batch.keys()
        log_weights = p.score(draw.values).nats() - draw.nats(latents)
        log_weights = log_weights.expand(times * size).reshape(times, size)
        log_sum = np.logaddexp(log_sum, log_mean_exp(log_weights) + math.log(times))
    return math.log(samples) - log_sum


def _checked(batch: dict[str, Tensor], device: torch.device | None) -> dict[str, Tensor]:
    if not batch:
        raise ValueError("batch must hold at least one variable, but is empty. Try {'x': data}.")
    for name, value in batch.items():
        if not isinstance(value, Tensor) or value.dim() == 0:
            raise ValueError(
                f"batch['{name}'] must be a tensor with one row for each example, but is "
                f"{type(value).__name__}. Wrap it in `torch.as_tensor`."
            )
        if value.numel() == 0 or not value.isfinite().all():
            raise ValueError(
                f"batch['{name}'] must hold finite numbers, but has shape {tuple(value.shape)} "
                f"and {int((~value.isfinite()).sum())} NaN or infinite entries. Leave them out."
            )
    lengths = {name: len(value) for name, value in batch.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"batch must have one length, but has {lengths}. Check that all come from one split."
        )
    return {name: value.to(device) for name, value in batch.items()}


def _device(*joints: nn.Module) -> torch.device | None:
    """Where the parameters or buffers are; None, which moves nothing, when there are none."""
    tensors = (t for j in joints for group in (j.parameters(), j.buffers()) for t in group)
    first = next(tensors, None)
    return None if first is None else first.device
