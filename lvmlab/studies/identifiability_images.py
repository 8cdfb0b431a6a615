"""Images: models of the VaDE/iVAE paper from many seeds, and how far their latents agree.

There are no true sources, so the posterior means of two seeds are compared with each other, after
CCA. Networks are those of appendix A; pixels are grey and scored as the usual cross-entropy, where
the paper draws black and white anew for every batch. Adam with batches of 64, at a learning rate
that falls to zero as a cosine. Sets whose files are not at hand are left out.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from lvmlab import datasets
from lvmlab.conditionals import Bernoulli, Gaussian, StandardNormal
from lvmlab.datasets import sources
from lvmlab.diagnostics import mcc
from lvmlab.joint import Batch, Joint, variable_of
from lvmlab.models import (
    Component,
    autoencoder,
    ivae,
    mixture_prior,
    relaxed_vq,
    unit_codes,
    vade,
)
from lvmlab.networks import images as networks
from lvmlab.objectives import annealed, elbo
from lvmlab.steps import descend
from lvmlab.studies.compare import Claim
from lvmlab.studies.ledger import Cell, Row, measure, sizes
from lvmlab.train import Batches, evaluating, fit, quietly

BATCH = 64
PAPER_COMPONENTS = 20  # canonical components in the paper's code, for every latent dimension
NETWORKS: dict[str, tuple[Callable[..., nn.Module], Callable[..., nn.Module]]] = {
    "MLP": (networks.dense_encoder, networks.dense_decoder),
    "ConvNet": (networks.conv_encoder, networks.conv_decoder),
    "ResNet": (networks.residual_encoder, networks.residual_decoder),
    "grid": (networks.grid_encoder, networks.grid_decoder),
}
KINDS = {
    "ica-images": ("iVAE", "VaDE", "VAE"),
    "ica-hashed": ("hashed u", "VaDE"),
    "ica-vq": ("relaxed VQ", "AE"),
}

# systems: data set, network, latents, components of VaDE, width(s), and what of the rest is not as
# for all; rows: training rows at most;
# warm_up: share of the steps in which the rate's weight grows to 1. The paper has none, but on the
# digits its four layers then collapse: the decoder answers with the mean image whatever z is
# fmt: off
_DIGITS = {"dataset": "digits", "network": "MLP", "latents": 30, "components": 40}
_MNIST = {"dataset": "mnist", "components": 40}
_DENSE = {"network": "MLP", "width": (512, 384, 256, 256), "latents": 50}
_CONV = {"network": "ConvNet", "width": 8, "latents": 50}
_SHORT = {"epochs": 6, "rows": 20_000, "lr": 1e-3}
_GRID = {"network": "grid", "dataset": "digits", "latents": 8, "components": 32, "width": 16}
_SMOKE = {"seeds": 2, "epochs": 1, "rows": 256, "lr": 1e-3, "warm_up": 0.5, "minutes": 0.3}
_LESSON = {"seeds": 4, "epochs": 50, "rows": 1257, "lr": 2e-3, "warm_up": 0.5, "minutes": 2}
_PAPER = {"seeds": 10, "epochs": 200, "rows": 60_000, "lr": 5e-4, "warm_up": 0.0}
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "ica-images": {
        "smoke": _SMOKE | {"systems": (_DIGITS | {"width": (24, 16)},)},
        "lesson": _LESSON | {"minutes": 25, "systems": (
            _DIGITS | {"width": (128, 64)}, _MNIST | _DENSE | _SHORT, _MNIST | _CONV | _SHORT)},
        "paper": _PAPER | {"minutes": 8e4, "systems": tuple(
            _MNIST | {"network": net, "latents": latents, "width": width}
            for net, width in (("MLP", (512, 384, 256, 256)), ("ConvNet", 8), ("ResNet", 16))
            for latents in (50, 90, 200))},
    },
    "ica-hashed": {
        "smoke": _SMOKE | {"systems": (_DIGITS | {"width": (24, 16), "components": 16},)},
        "lesson": _LESSON | {"systems": (_DIGITS | {"width": (128, 64), "components": 128},)},
        "paper": _PAPER | {"minutes": 1e4, "systems": (
            _MNIST | _DENSE | {"components": 128},)},
    },
    "ica-vq": {
        "smoke": _SMOKE | {"systems": (_GRID,)},
        "lesson": _LESSON | {"systems": (_GRID,)},
        "paper": _PAPER | {"lr": 4e-4, "minutes": 1e5, "systems": (
            _GRID | {"dataset": "cifar10", "latents": 64, "components": 512, "width": 256},)},
    },
}
# fmt: on

_HELD_OUT = "mcc_20_held_out"
CLAIMS = {
    "ica-images": (
        Claim("Figure 4", "VaDE", _HELD_OUT, "above", "iVAE"),
        Claim("Figure 4", "VaDE", "mcc_20_in_sample", "above", "iVAE"),
    ),
    "ica-hashed": (Claim("Figure C.2", "hashed u", _HELD_OUT, "below", "VaDE"),),
    "ica-vq": (Claim("Figure B.1", "relaxed VQ", "mcc_all_held_out", "above", "AE"),),
}


def run(study: str, preset: str, seeds: int | None) -> list[Row]:
    """The rows of "ica-images", "ica-hashed" or "ica-vq"."""
    size = sizes(SIZES[study], preset)
    here = datasets.at_hand()
    cells = [
        Cell(name_of(s), kind, s.dataset, partial(agreeing, kind, s, s))
        for s in (SimpleNamespace(**vars(size) | settings) for settings in size.systems)
        if s.dataset in here
        for kind in KINDS[study]
    ]
    return measure(study, preset, size.seeds if seeds is None else seeds, cells)


def name_of(system: Any) -> str:
    """The name of a system, such as "MLP, 50 latents"."""
    return f"{system.network}, {system.latents} latents"


def agreeing(kind: str, system: Any, size: Any, seeds: Sequence[int]) -> list[dict[str, float]]:
    """Train one model for each seed and compare each with all others.

    With a single seed the next one is trained as well, to have a pair.
    """
    every = list(seeds) if len(seeds) > 1 else [seeds[0], seeds[0] + 1]
    train = _load(system.dataset, "train", size.rows)
    test = {"x": torch.cat([_load(system.dataset, s)["x"] for s in ("validation", "test")])}
    costs, means = {}, {}
    for seed in every:
        p, q = trained(kind, system, size, train, seed)
        costs[seed], means[seed] = looked_at(p, q, test)
    found = agreement(list(means.values()))
    return [{"distortion": costs[seed], **found[every.index(seed)]} for seed in seeds]


def trained(kind: str, system: Any, size: Any, train: Batch, seed: int) -> tuple[Joint, Joint]:
    """One model of one of `KINDS`; u is the label in iVAE.

    A hash is of pixels moved by -0.5, with a projection of the seed's own (appendix C).
    """
    values = {"x": train["x"]}
    if kind == "iVAE":
        values["u"] = train["label"]
    elif kind == "hashed u":
        bits = int(math.log2(system.components))
        projection = sources.rademacher(bits, train["x"][0].numel(), seed)
        values["u"] = sources.hashed(train["x"] - 0.5, projection)
    torch.manual_seed(seed)
    p, q = model(kind, system, train["x"].shape[1:], int(train["label"].max()) + 1)
    adam = torch.optim.Adam(nn.ModuleList([p, q]).parameters(), lr=size.lr, fused=True)
    batches = Batches(values, min(BATCH, len(values["x"])), seed, drop_last=True)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, size.epochs * len(batches))
    objective: Any = elbo
    if size.warm_up:
        objective = annealed(elbo, over=max(1, int(size.warm_up * size.epochs * len(batches))))
    step = descend(objective, p, q, adam)
    fit(step, batches, epochs=size.epochs, schedulers=[falling], device="cpu")
    return p, q


def model(kind: str, system: Any, shape: Sequence[int], labels: int) -> tuple[Joint, Joint]:
    """The p and q of one kind; the encoder never sees u, as in the paper's code."""
    encode, decode = NETWORKS[system.network]
    decoding = decode(system.latents, shape, system.width)
    if system.network == "grid":
        encoding = encode(shape, system.latents, system.width)
        if kind == "AE":
            return autoencoder(encoding, decoding, Bernoulli)
        codes, places = unit_codes(system.components, system.latents), shape[1] * shape[2] // 16
        return relaxed_vq(encoding, decoding, Bernoulli, codes, places)
    encoder = Gaussian(encode(shape, 2 * system.latents, system.width))
    decoder = Bernoulli(decoding)
    if kind == "VAE":
        return vade(StandardNormal(system.latents), decoder, encoder)
    prior = mixture_prior(labels if kind == "iVAE" else system.components, system.latents)
    if kind == "VaDE":
        return vade(prior, decoder, encoder)
    return ivae(Component(prior), decoder, encoder)


def looked_at(p: Joint, q: Joint, test: Batch) -> tuple[float, np.ndarray]:
    """The mean of -log p(x|z) of test rows in nats, z drawn once, and posterior means.

    Means are (N, D), or (N, G, D) on a grid of G places: expected codes of the relaxed VQ-VAE.
    """
    ((text, encoder),) = ((t, f) for t, f in q.factors.items() if "|" in t)
    encode, decode = cast(Any, encoder), cast(Any, p.factors[f"x|{variable_of(text)}"])
    x = test["x"]
    with torch.no_grad(), evaluating({"p": p, "q": q}), quietly(0):
        drawn = encode(x)  # the label of an iVAE is not asked for
        cost = -decode(drawn.rsample()).log_prob(x).mean().item()
        means = encode.mean(x) if text == "u|x" else drawn.mean
    return cost, means.numpy()


def agreement(means: Sequence[np.ndarray]) -> list[dict[str, float]]:
    """For each seed, how its posterior means agree with those of the others.

    means: (N, D) of each, or (N, G, D) on a grid, of which every place is compared with the same
    place of another seed; the score is the mean over places.

    Half of the rows fit CCA (`in_sample`), the other half is scored (`held_out`); `mcc_20` has the
    20 leading canonical components, as the paper's code but not its text says, `mcc_all` all of
    them, and `mcc_plain` no CCA at all. `..._floor` is the same score with rows shuffled. A mean
    over the pairs with each other seed, so that the mean over n seeds is that over n (n - 1) / 2
    pairs: no run is paired with itself (`seed-pair-counts`).
    """
    pairs = combinations(range(len(means)), 2)
    scores = {(i, j): _of_places(means[i], means[j]) for i, j in pairs}
    return [_mean([s for pair, s in scores.items() if i in pair]) for i in range(len(means))]


def _of_places(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    if a.ndim == 2:
        return scores_of(a, b)
    return _mean([scores_of(a[:, g], b[:, g]) for g in range(a.shape[1])])


def _mean(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([s[name] for s in scores])) for name in scores[0]}


def scores_of(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Every score of one pair of seeds, as in `agreement`."""
    half = len(a) // 2
    few = min(PAPER_COMPONENTS, a.shape[1], b.shape[1])
    ways: dict[str, dict[str, Any]] = {
        "plain": {"align": "matching"},
        "20": {"components": few},
        "all": {"align": "cca"},
    }
    found: dict[str, float] = {}
    for name, settings in ways.items():
        for rows, rest in (("in_sample", None), ("held_out", (a[half:], b[half:]))):
            score = mcc(a[:half], b[:half], held_out=rest, **settings)
            found[f"mcc_{name}_{rows}"] = score.mcc
            found[f"mcc_{name}_{rows}_floor"] = score.floor
    return found


def _load(dataset: str, split: str, limit: int | None = None) -> Batch:
    found = datasets.load(dataset, split, download=False)
    if limit is None or limit >= len(found):
        return found.values
    return datasets.load(dataset, split, size=limit, download=False).values
