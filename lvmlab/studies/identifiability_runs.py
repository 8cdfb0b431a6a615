"""Training and scores of the studies in `identifiability`.

Synthetic data: networks, decoder scale, learning rate and steps of a cell come from its `size`;
Adam with batches of 256, the learning rate falling to zero as a cosine, where the paper lets it
fall on plateaus. All seeds train together (`many.fit_many`). Scores are Pearson's MCC of posterior
means (`diagnostics.mcc`) on rows that were not trained on, never the best of several.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lvmlab.conditionals import Mixture, StandardNormal
from lvmlab.datasets import sources
from lvmlab.diagnostics import mcc
from lvmlab.joint import Batch, Evaluation, Joint
from lvmlab.many import Trained, fit_many
from lvmlab.models import (
    Component,
    dense_pair,
    gmm_flow,
    ivae,
    mixture_prior,
    repair,
    vade,
    variability,
)
from lvmlab.objectives import elbo, marginal_likelihood
from lvmlab.steps import Step
from lvmlab.train import Batches, evaluating, quietly

DIM = 5
SEGMENTS = 20
BATCH = 256
TEST = 250  # held-out rows a segment
NO_MODEL = ("the data", "PCA", "FastICA", "the truth")
LOOKS = 4  # draws of z behind a bound on held-out rows


class Mixed(NamedTuple):
    """Mixed sources: rows to train on, rows to score, and the truth."""

    train: Batch
    test: Batch
    truth: sources.Segments


@cache
def mixed(
    layers: int,
    per_segment: int,
    activations: str = "before",
    matrices: str = "orthogonal",
    mixing: int = 1,
    scale_low: float = 0.01,
) -> Mixed:
    """Five sources in 20 segments, mixed; `mixing` seeds means, scales and matrices."""
    truth = sources.time_contrastive(
        *(DIM, SEGMENTS, layers, mixing),
        scale_range=(scale_low, 3.0), activations=activations, matrices=matrices,
    )  # fmt: skip
    # seeds of the rows are far from those of the models
    train = truth.sample(per_segment, seed=10_000 + mixing)
    return Mixed(train, truth.sample(TEST, seed=20_000 + mixing), truth)


def unmixed(
    kind: str, settings: dict[str, Any], size: Any, seeds: list[int]
) -> list[dict[str, float]]:
    """Train one model for each seed, all together, and score each, as in `scored`.

    kind: "iVAE"; "iVAE given u", whose encoder sees u and whose scores need it (the paper does not
    tell which of the two); "VaDE"; "VAE"; "GMM-flow"; or "VaDE from iVAE", half of the steps as
    iVAE and the other half as VaDE from there on: where it goes, and with which bound, tells
    whether a bad score is one of the optimiser or of the objective. Or what needs no training, as
    in `without_a_model`. settings: of `mixed`. Raises `ValueError` for another kind.
    """
    data = mixed(**settings)
    if kind in NO_MODEL:
        return without_a_model(kind, data, seeds)
    if kind == "VaDE from iVAE":
        half = SimpleNamespace(**vars(size) | {"steps": max(1, size.steps // 2)})
        first = {run.seed: run for run in trained("iVAE", data, half, seeds)}
        runs = trained("VaDE", data, half, seeds, lambda seed: warm_start(first[seed]))
    else:
        runs = trained(kind, data, size, seeds)
    return [scored(kind, run, data) for run in runs]


def trained(
    kind: str,
    data: Mixed,
    size: Any,
    seeds: list[int],
    make: Callable[[int], tuple[Joint, Joint]] | None = None,
) -> list[Trained]:
    """The models of one kind, one for each seed, after `size.steps` steps (`size.flow_steps`)."""
    flow, names = kind == "GMM-flow", ("x", "u") if kind.startswith("iVAE") else ("x",)
    values = {name: data.train[name] for name in names}
    steps = size.flow_steps if flow else size.steps
    objective: Callable[..., Evaluation] = marginal_likelihood if flow else elbo
    return fit_many(
        make or (lambda seed: model(kind, size)),
        seeds,
        lambda seed: Batches(values, min(BATCH, len(values["x"])), seed, drop_last=True),
        objective,
        steps=steps,
        lr=size.lr,
        schedule=lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)),
        device="cpu",
    )


def model(kind: str, size: Any) -> tuple[Joint, Joint]:
    """The p and q of one kind with the settings of `size`, drawn with torch's generator."""
    if kind == "GMM-flow":
        return gmm_flow(DIM, size.flow_components, 10, size.flow_hidden)
    sees_u = kind == "iVAE given u"
    labels = SEGMENTS if sees_u else None
    decoder, encoder = dense_pair(DIM, DIM, size.hidden, size.scale, labels)
    if kind.startswith("iVAE"):
        table = Component(mixture_prior(SEGMENTS, DIM, size.start))
        return ivae(table, decoder, encoder, sees_u)
    if kind == "VaDE":
        return vade(mixture_prior(size.components, DIM, size.start), decoder, encoder)
    if kind == "VAE":
        return vade(StandardNormal(DIM), decoder, encoder)
    raise ValueError(
        "kind must be iVAE, iVAE given u, VaDE, VAE, GMM-flow or VaDE from iVAE, or one of "
        f"{', '.join(NO_MODEL)}, got {kind!r}"
    )


def warm_start(run: Trained) -> tuple[Joint, Joint]:
    """A VaDE with the networks and the table p(z|u) of a trained iVAE, its weights even."""
    factors: dict[str, Any] = run.p.factors | run.q.factors
    return vade(factors["z|u"].mixture, factors["x|z"], factors["z|x"])


def scored(kind: str, run: Trained, data: Mixed) -> dict[str, float]:
    """What one trained model found.

    `mcc` with the true sources and `mcc_floor`, its mean when rows are shuffled. Of test rows,
    `nll_upper_bound`: on -log p(x) for VaDE and VAE; for iVAE `conditional_nll_upper_bound`, on
    -log p(x|u); for the flow `nll`, exact. `train_elbo`: of VaDE's training rows, as in Figure 3.
    `l_rank` and `l_log10_condition` of the matrix of differences (`models.variability`), where
    there are components: 2 x 5 = 10 is full rank.
    """
    p, q, test = run.p, run.q, data.test
    with torch.no_grad(), evaluating({"p": p, "q": q}), quietly(run.seed):
        latents = latent_means(kind, run, test)
        found = mcc(test["source"], latents, seed=run.seed)
        numbers = {"mcc": found.mcc, "mcc_floor": found.floor}
        if kind == "GMM-flow":
            numbers["nll"] = _nll(marginal_likelihood, p, q, {"x": test["x"]})
        elif kind.startswith("iVAE"):
            given = {"x": test["x"], "u": test["u"]}
            numbers["conditional_nll_upper_bound"] = _nll(elbo, p, q, given)
        else:
            numbers["nll_upper_bound"] = _nll(elbo, p, q, {"x": test["x"]})
            numbers["train_elbo"] = -_nll(elbo, p, q, {"x": data.train["x"]})
    if (mixture := mixture_of(p)) is not None:
        found_l = variability(mixture.means, mixture.log_scales.exp())
        numbers["l_rank"] = float(found_l.rank)
        numbers["l_log10_condition"] = min(math.log10(found_l.condition), 300.0)
    return numbers


def latent_means(kind: str, run: Trained, batch: Batch) -> Tensor:
    """Posterior means (N, D) of a batch; the flow's latents are the images of x."""
    if kind == "GMM-flow":
        flow: Any = run.p.factors["x"]
        return flow.bijection(batch["x"])[0]
    drawn = run.q.draw({"x": batch["x"], "u": batch["u"]}).distributions
    return next(d.mean for text, d in drawn.items() if text.startswith("z|"))


def mixture_of(p: Joint) -> Mixture | None:
    """The mixture of components in p, if it has one."""
    return next((m for m in p.modules() if isinstance(m, Mixture)), None)


def without_a_model(kind: str, data: Mixed, seeds: Sequence[int]) -> list[dict[str, float]]:
    """What costs nothing: the MCC of "the data", "PCA" or "FastICA" with the sources.

    FastICA starts from each seed; the others are the same for all. "the truth" has the exact `nll`
    and `conditional_nll` of the test rows instead: no bound of a model can be below them, up to
    chance.
    """
    from sklearn.decomposition import PCA

    if kind == "the truth":
        wide, u = data.test["x"].double(), data.test["u"]
        nll, given = (-data.truth.log_prob(wide, v).mean().item() for v in (None, u))
        return [{"nll": nll, "conditional_nll": given} for _ in seeds]

    x, test, found = data.train["x"].numpy(), data.test, []
    for seed in seeds:
        latents = test["x"].numpy()
        if kind == "PCA":
            latents = PCA(DIM, svd_solver="full").fit(x).transform(latents)
        elif kind == "FastICA":
            latents = _fast_ica(x, latents, seed)
        score = mcc(test["source"], latents, seed=seed)
        found.append({"mcc": score.mcc, "mcc_floor": score.floor})
    return found


def projected(step: Step, mixture: Mixture, limit: float = 1e8) -> tuple[Step, list[int]]:
    """A step after which L is looked at, and repaired when it is not invertible (section 3).

    Returns the step and the numbers of the steps that were repaired, which grow as it runs.
    """
    repaired: list[int] = []
    done = 0

    def move(batch: Batch) -> Evaluation:
        nonlocal done
        evaluation = step(batch)
        if repair(mixture, limit):
            repaired.append(done)
        done += 1
        return evaluation

    return Step(f"{step.name}, L kept", move, step.modules, step.optimisers), repaired


def _nll(objective: Callable[..., Evaluation], p: Joint, q: Joint, batch: Batch) -> float:
    every = [sum(objective(p, q, batch).terms.values()) for _ in range(LOOKS)]
    return float(sum(v.double().mean() for v in every if isinstance(v, Tensor)) / LOOKS)


def _fast_ica(x: Any, test: Any, seed: int) -> Any:
    import warnings

    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # its last answer is scored then
        unmix = FastICA(DIM, whiten="unit-variance", random_state=seed, max_iter=1000).fit(x)
    return unmix.transform(test)
