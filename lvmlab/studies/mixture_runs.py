"""Training and measures of the studies in `mixtures`: one pair of joints, several objectives.

All objectives of a seed begin with the same weights, matched to the prior's moments, and see the
same batches under the same Adam; its beta1 is 0.5 as in the code that the paper builds on. Where
the start is "from k-means", q(k|x) has learned besides to name the clusters of the pixels, which
the paper does not do. What is measured is measured on test rows, networks in evaluation mode.
"""

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lvmlab import datasets
from lvmlab.batches import Batches
from lvmlab.devices import coarse_dtype
from lvmlab.diagnostics import greedy_accuracy, hungarian_accuracy
from lvmlab.joint import Batch, Evaluation, Joint
from lvmlab.models import (
    equidistant_prior,
    match_clusters,
    match_moments,
    mixture_images,
    ring_prior,
)
from lvmlab.noise import generator
from lvmlab.objectives import mmd, summed_elbo, wasserstein
from lvmlab.steps import descend
from lvmlab.train import evaluating, quietly, watch

ALIVE = 0.02  # average q(k|x) from which a component counts as in use
SAME = 10.0  # weight of [k = k'] in the joint kernel, eq. 12
ROWS_AT_ONCE = 250

PRIORS: dict[str, Callable[[], Any]] = {
    "equidistant": equidistant_prior,
    "ring as variances": ring_prior,
    "ring as scales": partial(ring_prior, reading="scale"),
    "pinwheel": partial(ring_prior, spread=(0.5, 0.1), reading="scale"),
}

OBJECTIVES: dict[str, dict[str, Any]] = {
    "GM-VAE": {},
    "GM-VAE beta = 10": {"beta": 10.0},
    "GM-VAE beta = 20": {"beta": 20.0},
    "GM-WAE": {},
    "GM-WAE joint kernel": {"same": SAME},
}
FROM_K_MEANS = " from k-means"  # after the name of an objective: where q(k|x) starts


class Run(NamedTuple):
    """A trained pair, and what was seen on the way."""

    p: Joint
    q: Joint
    steps: list[int]
    """(T,), the steps at which somebody looked, 0 and the last one included."""
    shares: Tensor
    """(T, K), the average of q(k|x) over the test rows."""
    curves: dict[int, dict[str, float]]
    """`measured` after some of these steps, the last one among them."""

    @property
    def end(self) -> dict[str, float]:
        """What was measured after the last step."""
        return self.curves[self.steps[-1]]


def objective(name: str, weight: float, least: float) -> Callable[..., Evaluation]:
    """The objective of a name in `OBJECTIVES`; `weight` is lambda of the transport ones.

    least: of `summed_out`, so that components without weight cost nothing.
    """
    name = name.removesuffix(FROM_K_MEANS)
    if name not in OBJECTIVES:
        raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)}, got {name!r}")
    if name.startswith("GM-VAE"):
        return partial(summed_elbo, least=least, **OBJECTIVES[name])
    return partial(wasserstein, weight=weight, least=least, **OBJECTIVES[name])


def begun(size: Any, x: Tensor, prior: str, seed: int) -> tuple[Joint, Joint]:
    """The joints of a seed before training, their q(z|x,k) at the moments of p(z|k)."""
    torch.manual_seed(seed)
    p, q = mixture_images(
        x.shape[1:], PRIORS[prior](), size.encoder, size.decoder, kernel=size.kernel,
        trials=size.trials, coarse=coarse_dtype() if size.coarse else None,
    )  # fmt: skip
    match_moments(p, q, x[:200], size.moments)
    return p, q


def trained(
    name: str,
    size: Any,
    data: tuple[Batch, Batch],
    prior: str,
    seed: int,
    start: tuple[Joint, Joint] | None = None,
    looks: Sequence[int] = (),
    marks: Sequence[int] = (),
) -> Run:
    """One run of `size.steps` steps from `start`, or from the beginning of the seed when None.

    data: training and test rows, as `loaded` gives them. looks: after which steps q(k|x) is
    averaged, besides 0 and the last; marks: after which of all these the rest is measured too,
    besides the last. What is looked at does not change the run.
    """
    train, test = data
    if start is not None:
        p, q = deepcopy(start)
    else:
        p, q = begun(size, train["x"], prior, seed)
        if name.endswith(FROM_K_MEANS):
            match_clusters(q, train["x"], torch.as_tensor(clusters(train, seed).labels_).long())
    weights = [v for joint in (p, q) for v in joint.parameters() if v.requires_grad]
    adam = torch.optim.Adam(weights, lr=size.lr, betas=(size.beta1, 0.999))
    batches = Batches({"x": train["x"]}, min(size.batch, len(train["x"])), seed, drop_last=True)
    step = descend(objective(name, size.weight, size.least), p, q, adam)
    seen = {0, size.steps, *looks, *marks}
    steps, shares, curves = [], [], {}
    every = math.gcd(*seen)
    for done in watch(step, batches, steps=size.steps, every=every, seed=seed, device="cpu"):
        if done in seen:
            steps.append(done)
            shares.append(responsibilities(q, test["x"]).mean(0))
        if done in marks or done == size.steps:
            curves[done] = measured(p, q, test, seed)
    return Run(p, q, steps, torch.stack(shares), curves)


def loaded(dataset: str, size: Any) -> tuple[Batch, Batch]:
    """Training and test rows of a data set, so many at most; nothing is downloaded."""
    found = []
    for split, limit in (("train", size.rows), ("test", size.points)):
        everyone = datasets.load(dataset, split, download=False)
        rows = min(limit, len(everyone))
        found.append(datasets.load(dataset, split, size=rows, download=False).values)
    return found[0], found[1]


def responsibilities(q: Joint, x: Tensor) -> Tensor:
    """q(k|x), (N, K), in evaluation mode."""
    factor: Any = q.factors["k|x"]
    with torch.no_grad(), evaluating({"q": q}):
        return torch.cat([factor(some).probs for some in x.split(ROWS_AT_ONCE)]).double()


def measured(p: Joint, q: Joint, test: Batch, seed: int) -> dict[str, float]:
    """The numbers of the figures on test rows, each row with one draw of z for each k.

    `distortion`, `continuous_rate` and `discrete_rate` of `summed_elbo`, nats; `squared_error`, and
    `prior_mmd_squared` of 500 rows to as many draws from the prior; shares of components; greedy
    (the paper's) and Hungarian accuracy of the largest q(k|x).
    """
    sums: dict[str, float] = {}
    rows = len(test["x"])
    with torch.no_grad(), evaluating({"p": p, "q": q}), quietly(seed):
        for some in test["x"].split(ROWS_AT_ONCE):
            terms = summed_elbo(p, q, {"x": some}).terms
            terms["squared_error"] = wasserstein(p, q, {"x": some}).terms["squared_error"]
            for key, values in terms.items():
                sums[key] = sums.get(key, 0.0) + values.sum().item() / rows
        z, y = codes(q, test["x"][:500]), p.draw(size=min(rows, 500)).values["z"]
        sums["prior_mmd_squared"] = mmd(z, y).item()
    posteriors = responsibilities(q, test["x"])
    shares = posteriors.mean(0)
    return sums | {
        "largest_share": shares.max().item(),
        "components_alive": float((shares > ALIVE).sum()),
        "components_shut_off": float((shares <= ALIVE).sum()),
        "greedy_accuracy_percent": 100 * greedy_accuracy(posteriors, test["label"]).accuracy,
        "hungarian_accuracy_percent": 100 * hungarian_accuracy(posteriors, test["label"]).accuracy,
    }


def codes(q: Joint, x: Tensor) -> Tensor:
    """One draw of z from q(z|x) = sum_k q(k|x) q(z|x,k) for each row, (N, D)."""
    with torch.no_grad(), evaluating({"q": q}):
        return q.draw({"x": x}).values["z"]


def covered(prior: Any, z: Tensor) -> float:
    """Modes of the prior that claim more than `ALIVE` of the codes z (N, D), by Bayes' rule."""
    k = torch.arange(len(prior.means))
    nats = torch.stack([prior(k[i : i + 1]).log_prob(z) for i in k], 1)
    return float((nats.softmax(1).mean(0) > ALIVE).sum())


def clusters(train: Batch, seed: int) -> Any:
    """Scikit-learn's k-means with ten means, fitted to the pixels of the training rows."""
    from sklearn.cluster import KMeans

    state = int(generator(seed, "k-means").initial_seed())
    return KMeans(10, n_init=1, random_state=state).fit(train["x"].flatten(1).numpy())


def k_means(data: tuple[Batch, Batch], seed: int) -> dict[str, float]:
    """K-means on the pixels: the same two accuracies."""
    train, test = data
    fitted = clusters(train, seed)
    found = fitted.predict(test["x"].flatten(1).numpy())
    shares = torch.bincount(torch.as_tensor(found).long(), minlength=10) / len(found)
    return {
        "greedy_accuracy_percent": 100 * greedy_accuracy(found, test["label"]).accuracy,
        "hungarian_accuracy_percent": 100 * hungarian_accuracy(found, test["label"]).accuracy,
        "largest_share": shares.max().item(),
    }
