"""Training and measures of the studies in `critics`: one strong decoder, many ways to keep z alive.

All methods of a seed begin with the same encoder and, but for Skip-VAE, the same decoder
(`models.strong_vae`), and see the same binary images under Adam with a gradient clip of 5. On small
images the decoder has a head start: it learns to do without z before z can learn to say anything.
The learning rate halves when validation does not improve, and the weights of the best validation
bound are kept: the bound, not the critic's loss, for all methods.
"""

import math
import statistics
import time
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lvmlab.batches import Binarised
from lvmlab.diagnostics import active_units, gaussian_information, importance_weighted_nll
from lvmlab.joint import Joint, Objective
from lvmlab.lagging import lag
from lvmlab.models import Refined, strong_vae
from lvmlab.networks.residual import residual_trunk
from lvmlab.objectives import (
    HybridCritic,
    NeuralCritic,
    SelfCritic,
    amim,
    annealed,
    criticised,
    elbo,
)
from lvmlab.steps import Step, descend
from lvmlab.studies.hierarchy_runs import Data
from lvmlab.studies.hierarchy_runs import loaded as loaded
from lvmlab.train import evaluating, fit, quietly

ROWS_AT_ONCE = 100
CLIP = 5.0
CHUNK = 10  # samples a row in memory at once, of 50 rows

METHODS = (
    "VAE",
    "VAE annealed",
    "VAE beta = 0.5",
    "SA-VAE",
    "Skip-VAE",
    "Lagging-VAE",
    "self critic",
    "hybrid critic",
    "neural critic",
    "A-MIM",
)


class Run(NamedTuple):
    """A trained pair, and what was seen on the way."""

    p: Joint
    q: Joint
    curve: list[dict[str, float]]
    """At the start and after every `size.every` steps, `look` on validation rows."""


def begun(method: str, size: Any, shape: tuple[int, ...], seed: int) -> tuple[Joint, Joint]:
    """The joints of a seed before training."""
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    torch.manual_seed(seed)
    sizes = (size.latent, size.width, size.kernels, size.maps, size.blocks, size.features)
    p, q = strong_vae(shape, *sizes)
    if method == "Skip-VAE":
        torch.manual_seed(seed)
        p, _ = strong_vae(shape, *sizes, skip=True)
    if method == "SA-VAE":
        encoder: Any = q.factors["z|x"]
        refined = Refined(encoder, p, size.refinements, rate=1 / size.batch)
        q = Joint("q", {"x": None, "z|x": refined})
    return p, q


def head_start(p: Joint, size: Any, data: Data, seed: int) -> None:
    """Train p for `size.head` steps with an encoder that gives the prior, whatever x is.

    The rate is 0 then and the loss -log p(x|z) with a z that says nothing, on batches of its own.
    """

    def blind(x: Tensor) -> Independent:
        zeros = x.new_zeros(len(x), size.latent)
        return Independent(Normal(zeros, torch.ones_like(zeros), validate_args=False), 1)

    q = Joint("q", {"x": None, "z|x": blind})
    adam = torch.optim.Adam(p.parameters(), lr=size.lr)
    step = descend(elbo, p, q, adam, clip=CLIP)
    rows = {"x": data.train["x"]}
    batches = Binarised(rows, min(size.batch, len(rows["x"])), seed + 2 * 10**6, drop_last=True)
    with quietly(seed + 2 * 10**6):
        for turn in range(size.head):
            step(batches.at(turn))


def objective(method: str, q: Joint, size: Any, shape: tuple[int, ...], warm: int) -> Any:
    """What a method descends; `warm` steps of annealing where there is any."""
    trunk: Any = getattr(q.factors["z|x"], "network", None)
    if method == "self critic":
        return criticised(SelfCritic())
    if method == "hybrid critic":
        return criticised(HybridCritic(trunk[0], nn.Linear(size.features, size.latent)))
    if method == "neural critic":
        own = residual_trunk(shape, size.width, size.blocks, size.features)
        return criticised(NeuralCritic(nn.Sequential(own, nn.Linear(size.features, size.latent))))
    others: dict[str, Objective] = {
        "VAE annealed": annealed(elbo, over=warm),
        "VAE beta = 0.5": partial(elbo, beta=0.5),
        "A-MIM": amim,
    }
    return others.get(method, elbo)


def made(
    method: str, size: Any, data: Data, seed: int, head: dict[str, Tensor] | None = None
) -> tuple[Joint, Joint, Step, Binarised]:
    """The joints of a method, its step, and the batches of the seed.

    head: the state of p after its head start where that is known already; else it is trained.
    """
    x = data.train["x"]
    shape = tuple(x.shape[1:])
    batch = min(size.batch, len(x))
    batches = Binarised({"x": x}, batch, seed, drop_last=True)
    p, q = begun(method, size, shape, seed)
    if head is not None:
        p.load_state_dict(head)
    else:
        head_start(p, size, data, seed)
    goal = objective(method, q, size, shape, max(1, size.steps // 4))
    adam = partial(torch.optim.Adam, lr=size.lr)
    if method == "Lagging-VAE":
        inner = Binarised({"x": x}, batch, seed + 10**6, drop_last=True)
        information = partial(_information, q, data.validation["x"], size.batch)
        optimisers = adam(p.parameters()), adam(q.parameters())
        step = lag(goal, p, q, *optimisers, inner, information, clip=CLIP, most=size.most)
        return p, q, step, batches
    parts = [p, q, *([goal] if isinstance(goal, nn.Module) else [])]
    step = descend(goal, p, q, adam(nn.ModuleList(parts).parameters()), clip=CLIP)
    return p, q, step, batches


def trained(method: str, size: Any, data: Data, seed: int) -> Run:
    """One run of at most `size.steps` steps; the weights of its best look."""
    with quietly(seed):
        p, q, step, batches = made(method, size, data, seed)
        curve: list[dict[str, float]] = [look(p, q, data, size.batch)]

        def validate() -> float:
            curve.append(look(p, q, data, size.batch))
            return curve[-1]["nll_upper_bound"]

        fit(
            step,
            batches,
            steps=size.steps,
            validate=validate,
            validate_every=size.every,
            patience=size.patience,
            schedulers=[
                ReduceLROnPlateau(optimiser, factor=0.5, patience=size.plateau)
                for optimiser in step.optimisers.values()
            ],
        )
    return Run(p, q, curve)


def look(p: Joint, q: Joint, data: Data, batch: int) -> dict[str, float]:
    """The bound and the information of validation rows, nats."""
    found = encoded(p, q, data.validation["x"])
    minibatch = _estimate(found, batch)[0]
    bound = found["distortion"] + found["rate"]
    return {"nll_upper_bound": bound.mean().item(), "minibatch_information": minibatch}


def measured(p: Joint, q: Joint, data: Data, seed: int, size: Any) -> dict[str, float]:
    """What Table 2 prints, on test rows, and the caps of it.

    `iw_nll` by importance sampling, an upper bound on average; `distortion` of one draw; `rate`,
    the closed-form KL of the posterior; `minibatch_information` within batches of the training's
    size, as in the paper, beside its ceiling log M, and `information` over all rows beside log N;
    `active_units`, means of variance above 0.01.
    """
    with quietly(seed):
        found = encoded(p, q, data.test["x"])
        nll = importance_weighted_nll(p, q, {"x": data.test["x"]}, size.samples, CHUNK)
    small, cap = _estimate(found, size.batch)
    whole, ceiling = _estimate(found, len(found["z"]))
    return {
        "iw_nll": float(nll.mean()),
        "distortion": found["distortion"].mean().item(),
        "rate": found["kl"].mean().item(),
        "minibatch_information": small,
        "minibatch_ceiling": cap,
        "information": whole,
        "information_ceiling": ceiling,
        "active_units": float(active_units(found["mean"]).active),
    }


def encoded(p: Joint, q: Joint, x: Tensor) -> dict[str, Tensor]:
    """One draw of z for each row with its mean and scale, both costs, and the KL, nats."""
    device = next(p.parameters()).device
    parts: dict[str, list[Tensor]] = {}
    with torch.no_grad(), evaluating({"p": p, "q": q}):
        for some in x.split(ROWS_AT_ONCE):
            pairs = q.draw({"x": some.to(device)})
            scored = p.score(pairs.values)
            posterior: Any = pairs.distributions["z|x"]
            kl = torch.distributions.kl_divergence(posterior, scored.distributions["z"])
            row = {"z": pairs.values["z"], "mean": posterior.mean, "scale": posterior.stddev}
            row |= {"distortion": -scored.nats(["x"]), "kl": kl}
            row |= {"rate": pairs.nats() - scored.nats(["z"])}
            for name, values in row.items():
                parts.setdefault(name, []).append(values.cpu())
    return {name: torch.cat(values) for name, values in parts.items()}


def costs(method: str, size: Any, data: Data, seed: int) -> dict[str, float]:
    """Time of a method beside the plain VAE's, `size.turns` steps of each in turn.

    `step_ratio`, the median over the turns of the ratio within a turn; `epoch_ratio`, that of the
    sums, an epoch being as many steps for both; milliseconds of both. Time of the processor on a
    CPU, on the clock elsewhere, after one turn that is not counted.
    """
    with quietly(seed):
        moves = [_mover(one, size, data, seed) for one in (method, "VAE")]
        spent: list[list[float]] = [[], []]
        for turn in range(size.turns + 1):
            for which in (0, 1) if turn % 2 else (1, 0):
                taken = moves[which](turn)
                spent[which] += [taken] if turn else []
    mine, plain = spent
    return {
        "step_ratio": statistics.median(a / b for a, b in zip(mine, plain, strict=True)),
        "epoch_ratio": sum(mine) / sum(plain),
        "step_ms": 1000 * statistics.median(mine),
        "vae_step_ms": 1000 * statistics.median(plain),
    }


def _mover(method: str, size: Any, data: Data, seed: int) -> Any:
    p, _ = begun(method, size, tuple(data.train["x"].shape[1:]), seed)
    *_, step, batches = made(method, size, data, seed, p.state_dict())
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    for module in step.modules.values():
        module.to(device)
    batches.to(device)
    clock = time.perf_counter if cuda else time.process_time

    def move(turn: int) -> float:
        batch = batches.at(turn)
        started = clock()
        step(batch)
        if cuda:
            torch.cuda.synchronize()
        return clock() - started

    return move


def ceiling(size: Any, data: Data) -> float:
    """The most that `minibatch_information` of validation rows can be, nats."""
    return math.log(min(size.batch, len(data.validation["x"])))


def _information(q: Joint, x: Tensor, batch: int) -> float:
    """I(x; z) within batches, of validation rows; Lagging-VAE's question."""
    device = next(q.parameters()).device
    with torch.no_grad():
        pairs = [q.draw({"x": some.to(device)}) for some in x.split(ROWS_AT_ONCE)]
    posteriors: list[Any] = [one.distributions["z|x"] for one in pairs]
    found = {
        "z": torch.cat([one.values["z"] for one in pairs]).cpu(),
        "mean": torch.cat([d.mean for d in posteriors]).cpu(),
        "scale": torch.cat([d.stddev for d in posteriors]).cpu(),
    }
    return _estimate(found, batch)[0]


def _estimate(found: dict[str, Tensor], batch: int) -> tuple[float, float]:
    rows = min(batch, len(found["z"]))
    value, ceiling = gaussian_information(found["z"], found["mean"], found["scale"], rows)
    return value, ceiling
