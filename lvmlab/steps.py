"""Steps: each moves some parameters with one batch. `train.fit` loops over them.

A step is made by a function (`descend`, `alternate`, `match_then_descend`, ...) and remembers the
parts whose state a checkpoint must hold; there are no trainer classes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lvmlab.joint import Batch, Evaluation, Joint, Objective
from lvmlab.objectives.combine import name_of
from lvmlab.objectives.complete import complete_likelihood, pair_scores
from lvmlab.objectives.pairing import best_pairing

REMEDY = "Try a smaller learning rate, a clip on the gradient, or a larger floor on the scales."


@dataclass(frozen=True)
class Step:
    """One batch in, some parameters moved: `step(batch)` returns the objective's `Evaluation`."""

    name: str
    """What it does, for messages: "descend elbo"."""
    move: Callable[[Batch], Evaluation]
    modules: dict[str, nn.Module] = field(default_factory=dict)
    """Everything with parameters or buffers, by the name it has in a checkpoint."""
    optimisers: dict[str, Optimizer] = field(default_factory=dict)

    def __call__(self, batch: Batch) -> Evaluation:
        return self.move(batch)


def descend(
    objective: Objective,
    p: Joint,
    q: Joint,
    optimiser: Optimizer,
    clip: float | None = None,
) -> Step:
    """One gradient step on the objective's loss; `clip` bounds the gradient's norm.

    On a CPU a loss or a gradient that is not finite raises `FloatingPointError` before anything
    moves, naming the objective and its terms, or the parameters. On an accelerator the look would
    stall it, so there `fit` looks at the history instead. Raises `ValueError` when the optimiser
    holds none of the parameters.
    """
    modules: dict[str, nn.Module] = {"p": p, "q": q}
    if isinstance(objective, nn.Module):
        modules["objective"] = objective
    known = {id(v) for m in modules.values() for v in m.parameters()}
    held = [v for group in optimiser.param_groups for v in group["params"]]
    if not known & {id(v) for v in held}:
        raise ValueError(
            f"the optimiser holds no parameter of {p}, {q} or the objective: build it from "
            "torch.nn.ModuleList([p, q]).parameters()"
        )

    def move(batch: Batch) -> Evaluation:
        optimiser.zero_grad(set_to_none=True)
        evaluation = differentiate(objective, p, q, batch, held, clip)
        optimiser.step()
        return evaluation

    return Step(f"descend {name_of(objective)}", move, modules, {"optimiser": optimiser})


def differentiate(
    objective: Objective,
    p: Joint,
    q: Joint,
    batch: Batch,
    held: Sequence[Tensor],
    clip: float | None,
) -> Evaluation:
    """Add the gradients of the loss, and clip the norm of those of `held`.

    Raises `FloatingPointError` as `descend` says.
    """
    evaluation = objective(p, q, batch)
    look = evaluation.loss.device.type == "cpu"
    if look and not evaluation.loss.isfinite():
        raise FloatingPointError(not_finite(name_of(objective), evaluation.terms))
    evaluation.loss.backward()
    if look or clip is not None:
        norm = nn.utils.get_total_norm([v.grad for v in held if v.grad is not None])
        if look and not norm.isfinite():
            raise FloatingPointError(_steep(objective, p, q))
        if clip is not None:
            nn.utils.clip_grads_with_norm_(held, clip, norm)
    return evaluation


def alternate(*turns: tuple[Step, int]) -> Step:
    """Each step so many times on the same batch: `alternate((encoder, 5), (decoder, 1))`.

    Returns the evaluation of the last turn. Raises `ValueError` without turns or for counts
    below 1.
    """
    if not turns or any(times < 1 for _, times in turns):
        raise ValueError(f"turns must be (step, times) with times >= 1, got {turns!r}")

    def move(batch: Batch) -> Evaluation:
        for step, times in turns:
            for _ in range(times):
                evaluation = step(batch)
        return evaluation

    modules, optimisers = _merge([step for step, _ in turns])
    return Step("; ".join(step.name for step, _ in turns), move, modules, optimisers)


def match_then_descend(
    p: Joint,
    q: Joint,
    optimiser: Optimizer,
    clip: float | None = None,
    autocast: torch.dtype | None = None,
    descent_rows: int | None = None,
) -> Step:
    """CoLLike's step: re-pair the batch's stored latents optimally, then descend on the pairs.

    q must have an `Assignment` factor such as "z|index", and the batch must hold `index`. The
    match never lowers the likelihood of the stored pairs; by batches it reaches a local optimum
    (CoLLike, Algorithm 1, with the sign and the write-back corrected; `minibatch-local-optimum`),
    a better one the more rows are matched at once. So a large batch can be matched whole and
    descended in pieces of `descent_rows`, each a step of the optimiser; all in one when None.
    autocast: the dtype in which the match is scored, see `pair_scores`; the descent keeps its own.
    Raises `ValueError` when q stores no assignment, and as `match` does.
    """
    if descent_rows is not None and descent_rows < 1:
        raise ValueError(f"descent_rows must be a whole number from 1 up, got {descent_rows}")
    latent, assignment = _assignment_of(q)
    down = descend(complete_likelihood, p, q, optimiser, clip)

    def move(batch: Batch) -> Evaluation:
        match(p, latent, assignment, batch, autocast)
        size = len(batch["index"])
        if descent_rows is None or descent_rows >= size:
            return down(batch)
        pieces = [
            down({name: value[start : start + descent_rows] for name, value in batch.items()})
            for start in range(0, size, descent_rows)
        ]
        names = pieces[0].terms
        terms = {
            name: torch.cat([piece.terms[name].detach() for piece in pieces]) for name in names
        }
        return Evaluation(torch.stack([*terms.values()]).sum(0).mean(), terms)

    return Step("match, then descend complete_likelihood", move, down.modules, down.optimisers)


def match(
    p: Joint, latent: str, assignment: Any, batch: Batch, autocast: torch.dtype | None = None
) -> Tensor:
    """Re-pair the latents stored for this batch, write them back, return the new latents.

    Raises `ValueError` for a batch without `index` or with a row twice, for rows that nothing is
    stored for, and as `pair_scores` and `best_pairing` do; nothing is re-paired then.
    """
    if "index" not in batch:
        raise ValueError(
            f"the batch holds {sorted(batch)} and no 'index', which says whose latents to re-pair: "
            "Batches adds it"
        )
    index = batch["index"]
    values, times = index.unique(return_counts=True)
    if len(values) < len(index):
        raise ValueError(
            f"index holds row {int(values[times > 1][0])} twice or more, {len(index)} rows with "
            f"{len(values)} different ones: both would be given a latent and one would be lost. "
            "Draw batches without replacement, as Batches does"
        )
    stored = assignment(index).mean
    rows = {n: v for n, v in batch.items() if n != latent}
    scores = pair_scores(p, rows, {latent: stored}, autocast)
    paired = stored[best_pairing(scores)]
    assignment.store(index, paired)
    return paired


def expect_then_maximise(p: Joint, respond: Callable[[Joint, Batch], Tensor]) -> Step:
    """One step of EM by closed forms: responsibilities, then weighted maximum likelihood.

    p: a finite mixture whose conditionals offer `maximise(values, weights)`, such as
    {"k": Proportions(K), "x|k": Components(...)}. `respond(p, batch)` gives (B, K) weights:
    `objectives.exact_posterior` makes it EM; one-hot rows make it hard EM; one-hot rows with a
    quota make it CoLLike's full-batch step. Term: `nll` (B,) nats, before the parameters move;
    with the exact posterior its mean never rises (Dempster et al. 1977).
    Raises `ValueError` when a factor of p has no closed form.
    """
    from lvmlab.objectives.marginal import marginal_likelihood

    factors: dict[str, Any] = dict(p.factors)
    for text, factor in factors.items():
        if not hasattr(factor, "maximise"):
            raise ValueError(
                f"{p.name}({text}) has no closed-form M step (a method maximise): use Proportions "
                "and Components, or descend on marginal_likelihood"
            )

    def move(batch: Batch) -> Evaluation:
        with torch.no_grad():
            before = marginal_likelihood(p, p, batch)
            weights = respond(p, batch)
        for text, factor in factors.items():
            factor.maximise(batch.get(text.partition("|")[0], weights), weights)
        return before

    return Step("expect, then maximise", move, {"p": p})


def not_finite(objective: str, terms: dict[str, Tensor]) -> str:
    """The message for a loss that is no longer finite: the terms, the objective, what to try."""
    bad = [name for name, values in terms.items() if not values.isfinite().all()] or ["the loss"]
    return f"{' and '.join(bad)} of {objective} is no longer finite. {REMEDY}"


def _steep(objective: Objective, p: Joint, q: Joint) -> str:
    """The message for a gradient that is not finite where the loss still is."""
    modules: dict[str, Any] = {"p": p, "q": q, "objective": objective}
    bad = [
        f"{place}.{name}"
        for place, module in modules.items()
        if isinstance(module, nn.Module)
        for name, v in module.named_parameters()
        if v.grad is not None and not v.grad.isfinite().all()
    ]
    where = ", ".join(bad[:3]) + (", ..." if len(bad) > 3 else "")
    return (
        f"the gradient of {name_of(objective)} is not finite{' at ' * bool(bad)}{where}, though "
        f"its loss is; nothing was moved. {REMEDY}"
    )


def _assignment_of(q: Joint) -> tuple[str, Any]:
    found = [
        (text.partition("|")[0], factor)
        for text, factor in q.factors.items()
        if hasattr(factor, "store")
    ]
    if len(found) != 1:
        raise ValueError(
            f"{q} holds {len(found)} stored assignments, expected one: "
            'try Joint("q", {"x": None, "z|index": Assignment(latents)})'
        )
    return found[0]


def _merge(steps: Iterable[Step]) -> tuple[dict[str, nn.Module], dict[str, Optimizer]]:
    modules: dict[str, nn.Module] = {}
    optimisers: dict[str, Optimizer] = {}
    for i, step in enumerate(steps):
        for name, module in step.modules.items():
            if all(module is not m for m in modules.values()):
                modules[name if name not in modules else f"{name}_{i}"] = module
        for name, optimiser in step.optimisers.items():
            if all(optimiser is not o for o in optimisers.values()):
                optimisers[name if name not in optimisers else f"{name}_{i}"] = optimiser
    return modules, optimisers
