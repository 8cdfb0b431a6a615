"""Numbers about sentences: MELBO beside ELBO, words in common, ranks of answers."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lvmlab.diagnostics import arrays
from lvmlab.diagnostics.likelihood import log_mean_exp

SIDE_BY_SIDE = (
    "ELBO and MELBO are bounds for two different models of z and no ranking of one another: ELBO "
    "draws z from the prior that was trained with, MELBO from the codes of the very sentences that "
    "are scored, and grows with the logarithm of their number. Compare within a column."
)


class Melbo(NamedTuple):
    """Lower bounds (N,) on log p(x_i; T) in nats: z comes from the codes of the N sentences."""

    bound: np.ndarray
    """E log p(x_i|z) - log N, the printed one (eq. 6.17)."""
    tight: np.ndarray
    """log E p(x_i|z) - log N, by log-mean-exp over the draws: never below, noisy for few draws."""
    sentences: int
    """N, the sentences that the prior is made of."""

    @property
    def nll(self) -> float:
        """Mean of minus the bound, nats a sentence: the thesis' NLL."""
        return -float(self.bound.mean())


def melbo(scores: Any, sentences: int | None = None) -> Melbo:
    """MELBO of sentences from log p(x_i|z) at draws z of q(z|x_i) (`melbo-6.16`, `melbo-nll-6.17`).

    scores: (N,) or (N, S) nats, S draws each. sentences: how many the prior is made of, N when
    None; the bound falls by log 2 when they double. Raises `ValueError` for scores that are not
    finite, and for fewer than one sentence.

    Source: MIM thesis, equations 6.15 to 6.17.
    """
    scores = arrays.samples("scores", scores)
    sentences = arrays.whole_number("sentences", len(scores) if sentences is None else sentences, 1)
    cost = math.log(sentences)
    return Melbo(scores.mean(1) - cost, np.asarray(log_mean_exp(scores, 1)) - cost, sentences)


def sentences_needed(reconstruction: float, target: float) -> float:
    """log10 of how many sentences make MELBO's NLL as large as another number of nats.

    reconstruction: mean -log p(x|z), taken to stay what it is (MIM thesis, appendix D.2;
    `melbo-sample-size`).
    """
    return float(target - reconstruction) / math.log(10)


class Bounds(NamedTuple):
    """What one system is bounded by, in nats a sentence."""

    system: str
    elbo_nll: float
    """Distortion and rate under the trained prior, END counted as every token is."""
    melbo_nll: float
    """As of `Melbo`, of the words alone."""
    words: float
    """Mean words of a sentence."""
    sentences: int


def bounds_table(rows: Sequence[Bounds]) -> list[str]:
    """Lines of text: ELBO and MELBO of each system side by side, in the order given.

    Perplexities are for a word, and for END too on ELBO's side. The last line is `SIDE_BY_SIDE`;
    nothing is sorted. Raises `ValueError` for rows whose sets of sentences differ in number or
    words: MELBO means another thing then.
    """
    if len({(row.sentences, round(row.words, 6)) for row in rows}) > 1:
        raise ValueError(
            "rows of one table must be about the same sentences, got "
            + ", ".join(f"{r.system}: {r.sentences} of {r.words:.4g} words" for r in rows)
        )
    width = max((len(row.system) for row in rows), default=0)
    lines = [f"{'':<{width}}  ELBO nll  perplexity | MELBO nll  perplexity"]
    for row in rows:
        perplexities = row.elbo_nll / (row.words + 1), row.melbo_nll / row.words
        elbo, melbo = (math.exp(min(nats, 700.0)) for nats in perplexities)
        lines.append(
            f"{row.system:<{width}}  {row.elbo_nll:>8.2f}  {elbo:>10.4g} | "
            f"{row.melbo_nll:>9.2f}  {melbo:>10.4g}"
        )
    if rows:
        lines.append(f"MELBO of N = {rows[0].sentences:,} sentences, log N inside.")
    return [*lines, SIDE_BY_SIDE]


def bleu1(candidates: Sequence[str] | str, references: Sequence[str] | str) -> float:
    """BLEU-1 of texts, words apart by blanks, 0 to 1 (`bleu1`, `bleu1-clipping`).

    The share of the candidates' words that stand in the reference, each as often as it stands
    there, over all texts together, times exp(1 - r / c) where the candidates have c words and the
    references r > c. One reference each. Raises `ValueError` for different numbers of texts, and
    for none.

    Source: Papineni et al. (2002).
    """
    ours = [candidates] if isinstance(candidates, str) else list(candidates)
    theirs = [references] if isinstance(references, str) else list(references)
    if len(ours) != len(theirs) or not ours:
        raise ValueError(
            f"candidates and references must be as many, at least one, got {len(ours)} and "
            f"{len(theirs)}"
        )
    same = written = wanted = 0
    for candidate, reference in zip(ours, theirs, strict=True):
        words, others = candidate.split(), reference.split()
        same += (Counter(words) & Counter(others)).total()
        written, wanted = written + len(words), wanted + len(others)
    if not written:
        return 0.0
    return same / written * math.exp(min(0.0, 1 - wanted / written))


def answer_scores(blank: Any, answered: Any, scale: Any) -> np.ndarray:
    """How far each answer moves the code of its question, (N, K); less is better (`qa-score`).

    blank: codes (N, D) or (N, K, D) of the question with unknown words for the answer; answered:
    (N, K, D), with each of the K answers; scale: standard deviations of q(z|blank), as blank. It
    is the root of twice -log q without the logarithms of the scales (MIM thesis, section 7.6).
    Raises `ValueError` for scales that are not positive.
    """
    blank, answered, scale = (
        arrays.finite(name, value)
        for name, value in (("blank", blank), ("answered", answered), ("scale", scale))
    )
    if scale.min() <= 0:
        raise ValueError(f"scale must be positive, but its smallest entry is {scale.min():.4g}")
    if blank.ndim == answered.ndim - 1:
        blank = blank[..., None, :]
    if scale.ndim == answered.ndim - 1:
        scale = scale[..., None, :]
    return np.sqrt((((blank - answered) / scale) ** 2).sum(-1))


def ranks(scores: Any, true: int = 0) -> np.ndarray:
    """The place (N,) of one answer among all, 1 for the lowest score of (N, K).

    A tie counts against it. Raises `ValueError` for scores that are not finite and (N, K), and an
    answer that is not there.
    """
    scores = arrays.shaped("scores", arrays.finite("scores", scores), ("N", "K"))
    true = arrays.whole_number("true", true, 0, scores.shape[1] - 1)
    return (scores <= scores[:, true : true + 1]).sum(1)


class Ranking(NamedTuple):
    """How well the true answers are found."""

    p_at_1: float
    """The share of questions whose true answer is first."""
    mrr: float
    """Mean reciprocal rank."""


def ranking(ranks: Any) -> Ranking:
    """P@1 and MRR of the ranks of the true answers (`p1-mrr`).

    Raises `ValueError` for ranks below 1.
    """
    ranks = arrays.labels("ranks", ranks)
    if ranks.min() < 1:
        raise ValueError(f"ranks count from 1, got {ranks.min()}")
    return Ranking(float((ranks == 1).mean()), float((1 / ranks).mean()))


def shell_radius(scale: float, dimensions: int) -> float:
    """Mean distance of N(0, scale^2 I) from its mean, near scale * sqrt(D) (`gaussian-shell`)."""
    half = arrays.whole_number("dimensions", dimensions, 1) / 2
    return scale * math.sqrt(2) * math.exp(math.lgamma(half + 0.5) - math.lgamma(half))
