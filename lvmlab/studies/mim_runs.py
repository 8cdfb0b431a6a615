"""Data, training and measures of the collapse studies in `mim`.

Encoder and decoder have one hidden tanh layer; scales are floor + softplus(.) with a floor of
0.001, where the thesis' models have exp(.) + 1e-6. Training as there: Adam with batches of 128, a
learning rate that rises for three epochs and then falls as one over the root of the epoch, the
encoder's side weighed from 0 to 1 meanwhile (here step by step) and MIM's decoder half off until
then, the weights of the best epoch kept, and an end after more than three epochs without a better
one. The best epoch is chosen on rows of its own, where the thesis used the test set. All seeds of a
cell train together (`many.fit_many`).
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from lvmlab import datasets
from lvmlab.datasets import toys
from lvmlab.datasets.dataset import chosen_rows
from lvmlab.diagnostics import knn_accuracy, ksg, ksg_ceiling
from lvmlab.joint import Batch, Evaluation, Joint
from lvmlab.many import fit_many
from lvmlab.train import Batches, Fresh, quietly

FLOOR = 1e-3
BATCH = 128
EPOCH = 78  # batches of fresh draws: 10,000 rows
WARM_UP = 3  # epochs
NEIGHBOURS = 5


class Data(NamedTuple):
    """Where a seed's batches come from, and the rows on which it is chosen and measured."""

    batches: Callable[[int], Batches | Fresh]
    held_out: Callable[[int], Batch]
    train: Callable[[int], Batch]
    test: Callable[[int], Batch]
    unit: Tensor
    """What 1 in each column of x is in the units of the data, (D,)."""


def trained(
    make: Callable[[], tuple[Joint, Joint]],
    objective: Callable[..., Evaluation],
    data: Data,
    epochs: int,
    seeds: list[int],
) -> list[dict[str, float]]:
    """Train one model for each seed, all together, and measure each.

    An epoch is one pass over the rows, of 10,000 at least.
    """
    epoch = max(len(data.batches(seeds[0])), EPOCH)
    runs = fit_many(
        lambda seed: make(),
        seeds,
        data.batches,
        objective,
        steps=epochs * epoch,
        schedule=lambda step: noam(1 + step // epoch),
        beta=lambda step: min(1.0, step / (WARM_UP * epoch)),
        held_out=data.held_out,
        validate_every=epoch,
        patience=WARM_UP,
        device="cpu",
    )
    return [
        measured(r.p, r.q, data.train(r.seed), data.test(r.seed), r.seed, data.unit) for r in runs
    ]


def measured(
    p: Joint, q: Joint, train: Batch, test: Batch, seed: int, unit: Tensor
) -> dict[str, float]:
    """What the figures plot, on test rows, each with one draw of the encoder.

    `ksg_information` of x and z beside its ceiling for so many rows; `nll_upper_bound`, minus the
    one-sample bound on log q(x); `reconstruction_error`, the mean Euclidean length of x - x' with
    x' drawn from p(x|z); `knn5_accuracy` of z for the label, from train to test; and
    `posterior_scale`, the mean standard deviation of q(z|x). Densities and lengths are in the
    units of the data.
    """
    with torch.no_grad(), quietly(seed):
        encoded = q.draw({"x": test["x"]})
        decoded = p.score(encoded.values)
        z, z_train = encoded.values["z"], q.draw({"x": train["x"]}).values["z"]
        lengths = ((test["x"] - decoded.distributions["x|z"].sample()) * unit).norm(dim=1)
        nll = encoded.nats(["z"]) - decoded.nats() + unit.log().sum()
        scale = encoded.distributions["z|x"].variance.sqrt()
    return {
        "ksg_information": ksg(test["x"], z, NEIGHBOURS),
        "ksg_ceiling": ksg_ceiling(len(z), NEIGHBOURS),
        "nll_upper_bound": nll.mean().item(),
        "reconstruction_error": lengths.mean().item(),
        "knn5_accuracy": knn_accuracy(z_train, train["label"], z, test["label"], NEIGHBOURS),
        "posterior_scale": scale.mean().item(),
    }


def untrained(data: Data, seeds: list[int]) -> list[dict[str, float]]:
    """The 5-NN accuracy of the data themselves, which no latents need to beat."""
    found = []
    for seed in seeds:
        train, test = data.train(seed), data.test(seed)
        accuracy = knn_accuracy(train["x"], train["label"], test["x"], test["label"], NEIGHBOURS)
        found.append({"knn5_accuracy": accuracy})
    return found


def noam(epoch: int) -> float:
    """The learning rate of an epoch from 1 up, as a share of its peak (Vaswani et al. 2017)."""
    return WARM_UP**0.5 * min(epoch * WARM_UP**-1.5, epoch**-0.5)


def blobs(dim: int, points: int, standardise: bool = False) -> Data:
    """Five blobs, drawn anew for every batch; other draws for choosing, for 5-NN and for tests.

    In 20 dimensions the means run from -50 to 50; `standardise` gives every column mean 0 and
    standard deviation 1.
    """
    mixture = toys.five_blobs(dim)
    centre, unit = torch.zeros(dim), torch.ones(dim)
    if standardise:
        centre = mixture.means.mean(0).float()
        variance = mixture.means.var(0, correction=0) + mixture.scale[0] ** 2
        unit = variance.sqrt().float()

    def draw(size: int, seed: int | None = None, generator: torch.Generator | None = None) -> Batch:
        values = mixture.sample(size, seed, generator)
        return values | {"x": (values["x"] - centre) / unit}

    def part(number: int) -> Callable[[int], Batch]:
        return lambda seed: draw(points, seed=10**6 + 3 * seed + number)

    return Data(lambda seed: Fresh(draw, BATCH, seed, EPOCH), part(0), part(1), part(2), unit)


@cache
def pca_images(rows: int, points: int) -> tuple[str, Data, float]:
    """Images on their first 20 principal components, fitted on the training rows alone.

    Fashion-MNIST when its files are at hand (nothing is downloaded), else the 8 x 8 digits.
    Returns the name of the set, the data and the percentage of variance that is kept. At most
    `rows` rows for training and `points` for each of the rest.
    """
    from sklearn.decomposition import PCA

    here = datasets.at_hand()
    name = "fashion_mnist" if "fashion_mnist" in here else "digits"
    sets = {}
    for split, limit in {"train": rows, "validation": points, "test": points}.items():
        found = datasets.load(name, split, download=False)
        sets[split] = found.select(torch.as_tensor(chosen_rows(len(found), min(limit, len(found)))))
    pixels = {split: found["x"].flatten(1) for split, found in sets.items()}
    projection = PCA(20, svd_solver="full").fit(pixels["train"].numpy())
    parts = {
        split: {
            "x": torch.as_tensor(projection.transform(pixels[split].numpy()), dtype=torch.float32),
            "label": found["label"],
        }
        for split, found in sets.items()
    }

    def part(split: str) -> Callable[[int], Batch]:
        return lambda seed: parts[split]

    data = Data(
        lambda seed: Batches(parts["train"], BATCH, seed, drop_last=True),
        *(part("validation"), part("train"), part("test"), torch.ones(20)),
    )
    return name, data, 100 * float(projection.explained_variance_ratio_.sum())
