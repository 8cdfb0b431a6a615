"""Training and measures of the studies in `sentences`: one pair of networks, four objectives.

All objectives of a seed begin with the same weights and see the same batches of sentences of
similar length, under Adam with the gradient's norm cut at 0.25. The learning rate falls to a
quarter after `plateau` epochs without a better validation loss, and the weights of the best one are
kept: sentence models overfit.
"""

import math
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lvmlab import checkpoint as files
from lvmlab.batches import LengthBuckets
from lvmlab.datasets.tokens import Encoded
from lvmlab.datasets.words import Words, sentences
from lvmlab.diagnostics import (
    active_units,
    bleu1,
    gaussian_information,
    knn_entropy,
    melbo,
    perplexity,
)
from lvmlab.joint import Joint
from lvmlab.language import END
from lvmlab.models import at_the_mean, sentence_gru
from lvmlab.objectives import annealed, elbo, sentence_mim
from lvmlab.steps import descend
from lvmlab.train import evaluate, evaluating, fit, quietly

OBJECTIVES = ("sMIM", "sVAE", "sVAE annealed", "AE")
ROWS_AT_ONCE = 100
CLIP = 0.25


class Corpus(NamedTuple):
    """Sentences as words; those of validation and test from the shortest to the longest."""

    name: str
    words: Words
    texts: dict[str, tuple[str, ...]]
    rows: dict[str, Encoded]


class Coded(NamedTuple):
    """What a trained pair says about N sentences, nats."""

    z: Tensor
    """One draw of each posterior, (N, D)."""
    mean: Tensor
    scale: Tensor | None
    """None for an autoencoder."""
    distortion: Tensor
    """-log p(x|z), END included."""
    words: Tensor
    """The same without END's own nats."""
    prior: Tensor
    """-log p(x|z) at a z of the prior."""
    prior_words: Tensor
    """The same without END's own nats."""
    rate: Tensor | None


@cache
def corpus(
    name: str,
    most: int | None,
    vocabulary: int,
    rows: int | None = None,
    points: int | None = None,
    least: int = 1,
) -> Corpus:
    """A set of sentences with the words of its training part.

    rows, points: training sentences, and validation and test sentences, at most.
    """
    texts = {}
    for split in ("train", "validation", "test"):
        wanted = rows if split == "train" else points
        part = sentences(name, split, most, least)
        if wanted is not None and wanted < len(part):
            part = sentences(name, split, most, least, wanted)
        texts[split] = part.texts
        if split != "train":
            texts[split] = tuple(sorted(part.texts, key=lambda text: len(text.split())))
    return numbered(name, texts, vocabulary)


def numbered(name: str, texts: dict[str, tuple[str, ...]], vocabulary: int) -> Corpus:
    """Texts of each split as rows of words, with room for END after the longest."""
    words = Words.fit(texts["train"], vocabulary)
    limit = 1 + max(len(text.split()) for part in texts.values() for text in part)
    return Corpus(name, words, texts, {s: words.encode(t, limit) for s, t in texts.items()})


def begun(
    objective: str, size: Any, data: Corpus, latent: int, seed: int, blanks: float = 0.0
) -> tuple[Joint, Joint]:
    """The joints of a seed before training."""
    if objective not in OBJECTIVES:
        raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)}, got {objective!r}")
    torch.manual_seed(seed)
    length = data.rows["train"].x.shape[1]
    words = data.words
    p, q = sentence_gru(
        len(words),
        latent,
        size.embedding,
        size.hidden,
        length,
        size.dropout,
        blanks=blanks,
        unknown=words.unknown,
    )
    return (p, at_the_mean(q)) if objective == "AE" else (p, q)


def trained(
    objective: str,
    size: Any,
    data: Corpus,
    latent: int,
    seed: int,
    checkpoint: Path | None = None,
    blanks: float = 0.0,
) -> tuple[Joint, Joint]:
    """One run of at most `size.epochs` epochs, and the best weights of it.

    checkpoint: where a run that was killed goes on; when it is done its best weights stay there.
    """
    with quietly(seed):
        p, q = begun(objective, size, data, latent, seed, blanks)
    done = None if checkpoint is None else checkpoint.with_name("best.safetensors")
    if done is not None and done.is_file():
        best = files.read(done)
        p.load_state_dict(best["p"]), q.load_state_dict(best["q"])
        return p, q
    plain: dict[str, Any] = {"sMIM": sentence_mim, "AE": partial(elbo, beta=0.0)}
    train, held_out = data.rows["train"], data.rows["validation"]
    batches = LengthBuckets({"x": train.x}, train.lengths, size.batch, seed)
    looks = LengthBuckets(
        {"x": held_out.x}, held_out.lengths, min(ROWS_AT_ONCE, len(held_out.x)), shuffle=False
    )
    goal = loss = plain.get(objective, elbo)
    if objective == "sVAE annealed":
        goal = annealed(elbo, over=max(1, round(size.warm_up * len(batches))))
    adam = torch.optim.Adam(nn.ModuleList([p, q]).parameters(), lr=size.lr, fused=True)

    def validate() -> float:
        return evaluate(loss, p, q, looks, next(p.parameters()).device)["loss"]

    with quietly(seed):
        fit(
            descend(goal, p, q, adam, CLIP),
            batches,
            epochs=size.epochs,
            validate=validate,
            patience=size.patience,
            schedulers=[ReduceLROnPlateau(adam, factor=0.25, patience=size.plateau)],
            checkpoint=checkpoint,
        )
    if checkpoint is not None and done is not None:
        files.write(done, {"p": dict(p.state_dict()), "q": dict(q.state_dict())})
        checkpoint.unlink()  # with the optimiser's state it is several times as large
    return p, q


def coded(p: Joint, q: Joint, x: Tensor, seed: int) -> Coded:
    """One draw of z for each row of x (N, T), and what the decoder makes of it."""
    device = next(p.parameters()).device
    decoder: Any = p.factors["x|z"]
    prior: Any = p.factors["z"]
    parts: dict[str, list[Tensor]] = {}
    with torch.no_grad(), evaluating({"p": p, "q": q}), quietly(10_000 + seed):
        for some in _trimmed(x):
            pairs = q.draw({"x": (some := some.to(device))})
            z, posterior = pairs.values["z"], pairs.distributions["z|x"]
            nats = -decoder(z).token_log_prob(some)
            other = -decoder(prior().sample((len(z),))).token_log_prob(some)
            row = {"z": z, "mean": posterior.mean}
            for name, each in (("distortion", nats), ("prior", other)):
                words = "words" if name == "distortion" else "prior_words"
                row |= {name: each.sum(1), words: each.masked_fill(some == END, 0).sum(1)}
            if hasattr(posterior, "base_dist"):
                row |= {"scale": posterior.stddev}
                row |= {"rate": pairs.nats() - prior().log_prob(z)}
            for name, values in row.items():
                parts.setdefault(name, []).append(values.cpu())
    found: dict[str, Any] = {name: torch.cat(values) for name, values in parts.items()}
    return Coded(**{"scale": None, "rate": None} | found)


def written(
    p: Joint, z: Tensor, words: Words, banned: tuple[int, ...] = (), temperature: float = 0.0
) -> list[str]:
    """The sentence of each code (N, D), greedy unless a temperature says otherwise."""
    decoder: Any = p.factors["x|z"]
    device = next(p.parameters()).device
    texts = []
    with evaluating({"p": p}), torch.no_grad():
        for some in z.split(ROWS_AT_ONCE):
            rows = decoder(some.to(device)).sample(temperature=temperature, banned=banned)
            texts += words.decode(rows)
    return texts


def measured(p: Joint, q: Joint, data: Corpus, seed: int) -> dict[str, float]:
    """What Tables 7.2, 7.6 and 7.7 print, on test sentences, and what tells collapse.

    `melbo_nll`, of a sentence without END, and `melbo_perplexity` of a word; with a posterior that
    has a density also `elbo_nll` with END, `elbo_perplexity` of a token and `rate`: another model
    of z, never to be ranked with MELBO. `distortion` at z of the posterior and `prior_nll` at z of
    the prior, both with END; `nll_gap`, how much the second costs more. `bleu1` of greedy
    reconstructions from the same draws, beside its `bleu1_floor`, greedy sentences from z of the
    prior; `exact_percent` of reconstructions. `latent_entropy` of the drawn codes by nearest
    neighbours, different ones, beside `normal_entropy`; `information` of sentence and code beside
    its ceiling log N; `active_units`, `posterior_scale`, `parameters_millions`.
    """
    test, words = data.rows["test"], data.words
    found = coded(p, q, test.x, seed)
    size, dim = found.z.shape
    texts = words.decode(test.x)  # rare words are <unk> in the reference too
    again = written(p, found.z, words)
    with quietly(20_000 + seed):
        elsewhere = torch.randn(size, dim)
    bound = melbo(-found.words)
    counts = (test.x != END).sum(1)
    codes = np.unique(found.z.double().numpy(), axis=0)
    numbers = {
        "melbo_nll": bound.nll,
        "melbo_perplexity": perplexity(-bound.bound, counts),
        "distortion": found.distortion.mean().item(),
        "prior_nll": found.prior.mean().item(),
        "nll_gap": (found.prior - found.distortion).mean().item(),
        "bleu1": bleu1(again, texts),
        "bleu1_floor": bleu1(written(p, elsewhere, words), texts),
        "exact_percent": 100 * sum(a == b for a, b in zip(again, texts, strict=True)) / size,
        "latent_entropy": knn_entropy(codes, min(5, len(codes) - 1)),
        "normal_entropy": dim / 2 * math.log(2 * math.pi * math.e),
        "active_units": float(active_units(found.mean).active),
        "parameters_millions": sum(v.numel() for v in nn.ModuleList([p, q]).parameters()) / 1e6,
    }
    if found.scale is None or found.rate is None:
        return numbers
    nll = found.distortion + found.rate
    information = gaussian_information(found.z, found.mean, found.scale)
    return numbers | {
        "elbo_nll": nll.mean().item(),
        "elbo_perplexity": perplexity(nll, test.lengths),
        "rate": found.rate.mean().item(),
        "information": information.information,
        "information_ceiling": information.ceiling,
        "posterior_scale": found.scale.mean().item(),
    }


def each(
    run: Callable[[Joint, Joint, Corpus, int], dict[str, float]],
    objective: str,
    size: Any,
    name: str,
    latent: int,
    place: Path,
    seeds: list[int],
) -> list[dict[str, float]]:
    """The numbers of every seed; studies of one size share the weights kept at `place`."""
    data = corpus(name, size.most, size.vocabulary, size.rows, size.points)
    found = []
    for seed in seeds:
        here = place / f"{name}-{objective}-{latent}-{seed}".lower().replace(" ", "-")
        p, q = trained(objective, size, data, latent, seed, here / "run.safetensors")
        found.append(run(p, q, data, seed))
    return found


def _trimmed(x: Tensor) -> list[Tensor]:
    """Rows in pieces, each cut after its last END that counts."""
    lengths = ((x != END).sum(1) + 1).clamp(max=x.shape[1])
    pieces = zip(x.split(ROWS_AT_ONCE), lengths.split(ROWS_AT_ONCE), strict=True)
    return [rows[:, : int(longest.max())] for rows, longest in pieces]
