"""CoLLike, Table 2 on images: a flow steered by ten categories, paired or summed out.

The model is `models.flow_categories`, the training Adam with batches of 64 as in the paper. Both
objectives see the same rows and the same noise, and the weights kept are those of the epoch with
the best marginal likelihood on validation rows, for both. The validation rows are those of the data
sets, where the paper holds out 5 % of the training rows. Sets whose files are not at hand are left
out; nothing is downloaded.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from lvmlab import datasets, noise
from lvmlab.batches import Batches
from lvmlab.diagnostics import bits_per_dim, categorical_information, hungarian_accuracy
from lvmlab.flows import dequantise
from lvmlab.history import History
from lvmlab.joint import Batch, Joint
from lvmlab.models import flow_categories
from lvmlab.objectives import marginal_likelihood
from lvmlab.steps import descend, match_then_descend
from lvmlab.studies import ledger
from lvmlab.studies.compare import Claim, quoted
from lvmlab.studies.ledger import Cell, Row, measure, sizes
from lvmlab.train import evaluating, fit

STUDY = "collike-images"
CATEGORIES = 10
BATCH = 64
LEVELS = {"digits": 17, "mnist": 256, "cifar10": 256}
ROWS_AT_ONCE = 64  # in evaluation, each with all categories
COLLAPSED = 0.99  # share of one category from which a run counts as having all mass on it

# sets: those at hand are run; rows: training rows at most; points: validation rows and test rows at
# most, each; margin: of the logit before the flow, none when missing; minutes: all seeds of all
# sets on one core, those of paper size reckoned from the time of a step
# fmt: off
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    STUDY: {
        "smoke": {"seeds": 2, "minutes": 0.2, "sets": {
            "digits": {"rows": 256, "points": 64, "scales": 1, "steps": 2, "width": 8,
                       "epochs": 3, "lr": 3e-3},
            "cifar10": {"rows": 64, "points": 16, "scales": 3, "steps": 1, "width": 4,
                        "epochs": 1, "lr": 3e-3}}},
        "lesson": {"seeds": 4, "minutes": 35, "sets": {
            "digits": {"rows": 1257, "points": 360, "scales": 2, "steps": 3, "width": 32,
                       "epochs": 25, "lr": 3e-3},
            "mnist": {"rows": 3000, "points": 500, "scales": 2, "steps": 2, "width": 24,
                      "epochs": 5, "lr": 5e-3, "margin": 1e-6},
            "cifar10": {"rows": 1000, "points": 200, "scales": 3, "steps": 2, "width": 24,
                        "epochs": 2, "lr": 3e-3, "margin": 0.05}}},
        "paper": {"seeds": 4, "minutes": 1.4e6, "sets": {
            "mnist": {"rows": 60_000, "points": 10_000, "scales": 2, "steps": 7, "width": 96,
                      "epochs": 256, "lr": 5e-5},
            "cifar10": {"rows": 50_000, "points": 10_000, "scales": 3, "steps": 7, "width": 96,
                        "epochs": 256, "lr": 2e-4}}},
    },
}
# fmt: on

_METRICS = {
    "accuracy": "accuracy_percent",
    "bpd": "bits_per_dim_upper_bound",
    "aggkl": "aggregated_kl",
    "mi": "information",
}


CLAIMS = {
    STUDY: (
        Claim("Table 2", "CoLLike", "information", "above", "MaL"),
        Claim("Table 2", "CoLLike", "aggregated_kl", "below", "MaL"),
        *(
            quoted(
                f"collike-t2-{short}-{objective.lower()}-{name}",
                objective,
                metric,
                datasets=(dataset,),
            )
            for short, dataset in (("mnist", "mnist"), ("cifar", "cifar10"))
            for objective in ("CoLLike", "MaL")
            for name, metric in _METRICS.items()
        ),
        quoted("collike-s6-mnist-mal-collapse-fraction", "MaL", "collapsed", datasets=("mnist",)),
    )
}


def collike_images(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """A flow over images steered by a category, CoLLike against exact likelihood (Table 2).

    Numbers as in `measured`.
    """
    size = sizes(SIZES[STUDY], preset)
    here = datasets.at_hand()
    cells = [
        Cell(system(s), objective, name, partial(_seeds, preset, name, objective, s))
        for name, s in ((n, SimpleNamespace(**s)) for n, s in size.sets.items() if n in here)
        for objective in ("CoLLike", "MaL")
    ]
    return measure(STUDY, preset, size.seeds if seeds is None else seeds, cells)


def system(size: Any) -> str:
    """The name of a model of this size."""
    name = f"{size.scales} x {size.steps} steps of width {size.width}, {size.rows} rows"
    return name if getattr(size, "margin", None) is None else f"logit, {name}"


def trained(
    dataset: str, objective: str, size: Any, seed: int, checkpoint: Path | None = None
) -> tuple[Joint, Joint, History]:
    """One flow: p, q and what happened.

    objective: "CoLLike" or "MaL"; size: with the attributes of an entry of `sets` in `SIZES`. The
    first weights, the batches and the noise are those of the seed, the same for both objectives.
    """
    train, held_out = _load(dataset, "train", size.rows), _load(dataset, "validation", size.points)
    torch.manual_seed(seed)
    p, q = flow_categories(
        *(train["x"].shape[1:], len(train["x"]), CATEGORIES, size.scales, size.steps, size.width),
        margin=getattr(size, "margin", None),
    )
    adam = torch.optim.Adam(p.parameters(), lr=size.lr, fused=True)
    steps = {
        "CoLLike": partial(match_then_descend, p, q, adam),
        "MaL": partial(descend, marginal_likelihood, p, q, adam),
    }
    levels, data = LEVELS[dataset], {"x": train["x"]}
    batch = min(BATCH, len(train["x"]))
    history = fit(
        steps[objective](),
        DequantisedBatches(data, batch, seed, drop_last=True, levels=levels),
        epochs=size.epochs,
        validate=lambda: -log_joints(p, held_out, levels).logsumexp(1).mean().item(),
        checkpoint=checkpoint,
    )
    return p, q, history


def measured(p: Joint, batch: Batch, levels: int) -> dict[str, float]:
    """Table 2's numbers on the rows of `batch`, with the exact p(z|x) of dequantised images.

    `bits_per_dim_upper_bound`, because uniform noise bounds the likelihood of the pixels;
    `information` and `aggregated_kl` in nats, which together are at most `ceiling` = log K;
    `accuracy_percent` under the best pairing of categories and labels; `largest_share`, the largest
    entry of the aggregated posterior, and `collapsed`, 1 when it is above 0.99: the mean over
    seeds is the share of runs with all mass on one category.
    """
    scores = log_joints(p, batch, levels)
    posteriors = scores.softmax(1)
    found = categorical_information(posteriors)
    largest = posteriors.mean(0).max().item()
    nll = -scores.logsumexp(1).mean().item()
    return {
        "bits_per_dim_upper_bound": float(bits_per_dim(nll, batch["x"][0].numel(), bins=levels)),
        "information": found.information,
        "aggregated_kl": found.aggregated_kl,
        "ceiling": found.ceiling,
        "accuracy_percent": 100 * hungarian_accuracy(posteriors, batch["label"]).accuracy,
        "largest_share": largest,
        "collapsed": float(largest > COLLAPSED),
    }


def log_joints(p: Joint, batch: Batch, levels: int, seed: int = 0) -> Tensor:
    """Log p(x, z) of every image with every category, (N, K) nats, in float64.

    The noise of dequantisation is that of the seed: the same at every look.
    """
    device = next(p.parameters()).device
    noisy = dequantise(batch["x"], levels, noise.generator(seed, "look"))
    with torch.no_grad(), evaluating({"p": p}):
        scores = [
            p.enumerate({"x": x.to(device)}).log_joint.cpu() for x in noisy.split(ROWS_AT_ONCE)
        ]
    return torch.cat(scores).double()


class DequantisedBatches(Batches):
    """Batches whose pixels `x` in [0, 1] come with fresh uniform noise at every step.

    levels: as for `flows.dequantise`. The noise depends on the seed and the step alone, so a run
    can be resumed; iterating gives one epoch in row order with noise that training never sees.
    """

    def __init__(self, values: Batch, *given: Any, levels: int, **settings: Any):
        super().__init__(values, *given, **settings)
        self.levels = levels

    def at(self, step: int) -> Batch:
        return self._noisy(super().at(step), step)

    def __iter__(self) -> Iterator[Batch]:
        for i, batch in enumerate(super().__iter__()):
            yield self._noisy(batch, 2**31 + i)

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"levels": self.levels}

    def _noisy(self, batch: Batch, number: int) -> Batch:
        return batch | {
            "x": dequantise(batch["x"], self.levels, noise.generator(self.seed, number))
        }


def _load(dataset: str, split: str, limit: int) -> Batch:
    found = datasets.load(dataset, split, download=False)
    return datasets.load(dataset, split, size=min(limit, len(found)), download=False).values


def _seeds(
    preset: str, dataset: str, objective: str, size: Any, seeds: list[int]
) -> list[dict[str, float]]:
    test = _load(dataset, "test", size.points)
    place = ledger.folder() / STUDY / preset / ledger.code_version() / "weights"
    found = []
    for seed in seeds:
        checkpoint = place / f"{dataset}-{objective}-{seed}".lower() / "run.safetensors"
        p, _, _ = trained(dataset, objective, size, seed, checkpoint)
        found.append(measured(p, test, LEVELS[dataset]))
    return found
