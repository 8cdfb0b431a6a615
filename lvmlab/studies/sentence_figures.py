"""Figures 7.1 and D.2 of the MIM thesis in numbers, from a trained pair of `sentence_runs`."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lvmlab.diagnostics import melbo, sentences_needed
from lvmlab.joint import Joint
from lvmlab.studies.sentence_runs import Corpus, coded
from lvmlab.train import evaluating, quietly


def tables(p: Joint, q: Joint, x: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Nats of x_i given z_j and of z_i given x_j, each (N, N) with i the row, one z a sentence."""
    device = next(p.parameters()).device
    decoder: Any = p.factors["x|z"]
    with torch.no_grad(), evaluating({"p": p, "q": q}), quietly(10_000 + seed):
        pairs = q.draw({"x": x.to(device)})
        z, posterior = pairs.values["z"], pairs.distributions["z|x"]
        texts = [
            decoder(z[j : j + 1].expand(len(x), -1)).log_prob(x.to(device)) for j in range(len(x))
        ]
        codes = posterior.log_prob(z[:, None])
    return torch.stack(texts, 1).cpu(), codes.cpu()


def overlapping(p: Joint, q: Joint, data: Corpus, seed: int, points: int) -> dict[str, float]:
    """Figure 7.1 in numbers, on test sentences of different words.

    For the decoder's log p(x_i|z_j) and the encoder's log q(z_i|x_j): means over i = j (`own`) and
    i != j (`other`), and `overlap`.
    """
    x = data.rows["test"].x.unique(dim=0)
    with quietly(seed):
        x = x[torch.randperm(len(x))[:points]]
    found = {}
    for name, table in zip(("decoder", "encoder"), tables(p, q, x, seed), strict=True):
        own, other = table.diagonal(), table[~torch.eye(len(x), dtype=torch.bool)]
        found[f"{name}_own_log_prob"] = own.mean().item()
        found[f"{name}_other_log_prob"] = other.mean().item()
        found[f"{name}_overlap"] = overlap(own.numpy(), other.numpy())
    return found


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """The mass that two histograms share, 0 to 1, in a bin for every ten numbers of `one`.

    From 5 to 40 bins; few numbers share less than all even where both come from one distribution.
    """
    ends = min(one.min(), other.min()), max(one.max(), other.max())
    bins = np.linspace(*ends, min(max(len(one) // 10, 5), 40) + 1)
    shares = [np.histogram(values, bins)[0] / len(values) for values in (one, other)]
    return float(np.minimum(*shares).sum())


def by_size(
    p: Joint, q: Joint, data: Corpus, seed: int, counts: tuple[int, ...], trials: int
) -> dict[str, float]:
    """Figure D.2 in numbers: MELBO of K test sentences drawn anew in every trial.

    `melbo_nll_at_K` and `melbo_std_percent_at_K`, of the trials; `melbo_nll` of all, and
    `log10_sentences_needed`, for MELBO to reach what the words cost at z of the prior, which is
    what a decoder without z would pay.
    """
    found = coded(p, q, data.rows["test"].x, seed)
    scores, draw = -found.words.double().numpy(), np.random.default_rng(10_000 + seed)
    whole = melbo(scores)
    numbers = {"melbo_nll": whole.nll}
    for count in counts:
        if count > len(scores):
            continue
        each = [melbo(draw.choice(scores, count, replace=False)).nll for _ in range(trials)]
        numbers[f"melbo_nll_at_{count}"] = float(np.mean(each))
        numbers[f"melbo_std_percent_at_{count}"] = 100 * float(np.std(each) / np.mean(each))
    target = found.prior_words.mean().item()
    numbers["log10_sentences_needed"] = sentences_needed(-scores.mean(), target)
    return numbers
