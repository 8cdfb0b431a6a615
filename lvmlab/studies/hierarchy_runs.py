"""Training and measures of the studies in `hierarchies`.

All objectives of a system and a seed begin with the same weights and see the same batches, drawn
anew as binary images. Adam, the learning rate as it is (the code that the thesis builds on divides
each gradient by its norm first), beta from 0 to 1 in so many epochs on the rate of the VAE and on
the encoder's side of MIM, the weights of the best validation loss at beta = 1. As in that code MIM
draws no pairs from the decoder before beta is 1: pictures of noise are nothing to learn from.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lvmlab import datasets
from lvmlab.batches import Batches, Binarised, binarise
from lvmlab.diagnostics import gaussian_information, importance_weighted_nll, knn_accuracy
from lvmlab.joint import Batch, Evaluation, Joint
from lvmlab.models import conv_hvae, dense_hvae, pixel_hvae, pseudo_inputs
from lvmlab.noise import generator
from lvmlab.objectives import amim, annealed, elbo, mim
from lvmlab.steps import descend
from lvmlab.train import evaluate, evaluating, fit, quietly

ROWS_AT_ONCE = 100
NEIGHBOURS = 5
CHUNK = 20  # samples a row in memory at once, of 50 rows


class System(NamedTuple):
    """One model, and what it is trained with."""

    make: Callable[..., tuple[Joint, Joint]]
    objectives: tuple[str, ...]
    vamp: bool = False
    floor: float | None = None


SYSTEMS = {
    "convHVAE (S)": System(conv_hvae, ("VAE", "MIM")),
    "convHVAE (VP)": System(conv_hvae, ("VAE", "MIM"), vamp=True),
    "PixelHVAE (S)": System(pixel_hvae, ("VAE", "A-MIM")),
    "PixelHVAE (VP)": System(pixel_hvae, ("VAE", "A-MIM"), vamp=True),
    "PixelHVAE (VP), floor 0.3": System(pixel_hvae, ("A-MIM",), vamp=True, floor=0.3),
    "HVAE (S)": System(dense_hvae, ("VAE", "MIM")),
    "HVAE (VP)": System(dense_hvae, ("VAE", "MIM"), vamp=True),
    "HVAE (VP), floor 0.3": System(dense_hvae, ("MIM",), vamp=True, floor=0.3),
}
"""S has the standard prior, VP the VampPrior. The thesis trains convHVAE by MIM and PixelHVAE by
A-MIM, because drawing from the latter takes as many looks as there are pixels."""


def waiting_mim(p: Joint, q: Joint, batch: Batch, beta: float | Tensor = 1.0) -> Evaluation:
    """`mim` at beta = 1, and before that its encoded half alone, which is `amim`."""
    return mim(p, q, batch) if float(beta) >= 1 else amim(p, q, batch, beta)


OBJECTIVES: dict[str, Any] = {"VAE": elbo, "MIM": waiting_mim, "A-MIM": amim}


class Data(NamedTuple):
    """A set of grey images; validation and test rows binarised once."""

    train: Batch
    validation: Batch
    test: Batch


def loaded(dataset: str, size: Any) -> Data:
    """So many rows of a set at most; nothing is downloaded."""
    rows = {}
    for split, limit in (("train", size.rows), ("validation", size.points), ("test", size.points)):
        found = datasets.load(dataset, split, download=False)
        taken = datasets.load(dataset, split, size=min(limit, len(found)), download=False).values
        rows[split] = {name: taken[name] for name in ("x", "label")}
        if split != "train":
            rows[split]["x"] = binarise(taken["x"], generator("binarised", split))
    return Data(**rows)


def begun(name: str, size: Any, x: Tensor, seed: int) -> tuple[Joint, Joint]:
    """The joints of a seed before training; pseudo-inputs start from the first rows of x."""
    system = SYSTEMS[name]
    more: dict[str, Any] = {} if system.make is dense_hvae else {"channels": size.channels}
    if system.make is pixel_hvae:
        more["layers"] = size.layers
    if system.vamp:
        more["pseudo"] = pseudo_inputs(x, size.pseudo, seed=seed)
    torch.manual_seed(seed)
    return system.make(tuple(x.shape[1:]), size.latents, size.width, floor=system.floor, **more)


def trained(
    system: str,
    objective: str,
    size: Any,
    data: Data,
    seed: int,
    anneal: bool = True,
    checkpoint: Path | None = None,
) -> tuple[Joint, Joint]:
    """One run of at most `size.epochs` epochs, and the best weights of it."""
    p, q = begun(system, size, data.train["x"], seed)
    plain = OBJECTIVES[objective]
    rows = len(data.train["x"])
    batches = Binarised({"x": data.train["x"]}, min(size.batch, rows), seed, drop_last=True)
    adam = torch.optim.Adam(nn.ModuleList([p, q]).parameters(), lr=size.lr)
    warm = max(1, size.warm_up * len(batches))
    held_out = Batches({"x": data.validation["x"]}, min(ROWS_AT_ONCE, len(data.validation["x"])))

    def validate() -> float:
        return evaluate(plain, p, q, held_out, next(p.parameters()).device)["loss"]

    with quietly(seed):
        fit(
            descend(annealed(plain, over=warm) if anneal else plain, p, q, adam),
            batches,
            epochs=size.epochs,
            validate=validate,
            patience=size.patience + (size.warm_up if anneal else 0),
            checkpoint=checkpoint,
        )
    return p, q


def measured(p: Joint, q: Joint, data: Data, seed: int, samples: int) -> dict[str, float]:
    """What the tables print, on test rows, and what explains it.

    `iw_nll`, the importance-weighted NLL from so many samples, an upper bound on average;
    `distortion` and `rate` of one draw; `knn5_accuracy` of drawn z1 and z2 together, from train to
    test, where the test has labels that were trained on; `upper_information`, I(x; z2) in the test
    rows beside the `upper_ceiling` log N that it cannot pass; `upper_scale`, the mean standard
    deviation of q(z2|x).
    """
    test = data.test["x"]
    found = encoded(p, q, test, seed)
    information, ceiling = gaussian_information(found["z2"], found["mean"], found["scale"])
    nll = importance_weighted_nll(p, q, {"x": test}, samples, CHUNK)
    numbers = {
        "iw_nll": float(nll.mean()),
        "distortion": found["distortion"].mean().item(),
        "rate": found["rate"].mean().item(),
        "upper_information": information,
        "upper_ceiling": ceiling,
        "upper_scale": found["scale"].mean().item(),
    }
    labels = data.train["label"], data.test["label"]
    if set(labels[0].tolist()) & set(labels[1].tolist()):
        x = binarise(data.train["x"], generator("binarised", "train"))
        codes = [torch.cat([one["z1"], one["z2"]], 1) for one in (encoded(p, q, x, seed), found)]
        numbers["knn5_accuracy"] = knn_accuracy(
            codes[0], labels[0], codes[1], labels[1], NEIGHBOURS
        )
    return numbers


def encoded(p: Joint, q: Joint, x: Tensor, seed: int) -> dict[str, Tensor]:
    """One draw of z2 and z1 for each row, with mean and scale of q(z2|x), and both costs, nats."""
    device = next(p.parameters()).device
    parts: dict[str, list[Tensor]] = {}
    with torch.no_grad(), evaluating({"p": p, "q": q}), quietly(seed):
        for some in x.split(ROWS_AT_ONCE):
            pairs = q.draw({"x": some.to(device)})
            scored = p.score(pairs.values)
            upper: Any = pairs.distributions["z2|x"]
            row = {"z1": pairs.values["z1"], "z2": pairs.values["z2"]}
            row |= {"mean": upper.mean, "scale": upper.stddev}
            row |= {"distortion": -scored.nats(["x"])}
            row |= {"rate": pairs.nats() - scored.nats(["z1", "z2"])}
            for name, values in row.items():
                parts.setdefault(name, []).append(values.cpu())
    return {name: torch.cat(values) for name, values in parts.items()}


def each(
    system: str,
    objective: str,
    size: Any,
    dataset: str,
    anneal: bool,
    place: Path,
    seeds: list[int],
) -> list[dict[str, float]]:
    """The numbers of every seed; weights are kept at `place` while a run goes on."""
    data = loaded(dataset, size)
    found = []
    for seed in seeds:
        name = f"{dataset}-{system}-{objective}-{anneal}-{seed}".lower().replace(" ", "-")
        checkpoint = place / name / "run.safetensors"
        p, q = trained(system, objective, size, data, seed, anneal, checkpoint)
        found.append(measured(p, q, data, seed, size.samples))
    return found
