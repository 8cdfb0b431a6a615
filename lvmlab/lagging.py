"""Lagging-VAE's step: many encoder steps for one of the decoder, as long as information grows."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lvmlab.batches import Stream
from lvmlab.joint import Batch, Evaluation, Joint, Objective
from lvmlab.objectives.combine import name_of
from lvmlab.steps import Step, differentiate


class Lag(nn.Module):
    """Where the aggressive phase stands; buffers, so that a checkpoint holds it."""

    inner: Tensor
    """Encoder steps so far in inner loops."""
    done: Tensor
    """Steps so far of the decoder."""
    best: Tensor
    """The most information that a look has seen, nats."""
    since: Tensor
    """Looks since then."""
    lagging: Tensor
    """Whether the phase goes on."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("inner", "done", "since"):
            self.register_buffer(name, torch.zeros((), dtype=torch.long))
        self.register_buffer("best", torch.tensor(-torch.inf))
        self.register_buffer("lagging", torch.tensor(True))


def lag(
    objective: Objective,
    p: Joint,
    q: Joint,
    decoder: Optimizer,
    encoder: Optimizer,
    batches: Stream,
    information: Callable[[], float],
    clip: float | None = None,
    most: int = 100,
    look: int = 10,
    patience: int = 5,
) -> Step:
    """Let the decoder lag behind the encoder until information stops growing (He et al. 2019).

    In the aggressive phase each step trains the encoder alone, on the batch and then on others of
    `batches` (a stream of its own, with another seed than the training's), until the mean loss of
    `look` steps is not below that of the `look` before, or `most` - 1 steps are done; then the
    decoder once, on the batch. After every epoch `information()` is asked, in eval mode and under a
    random state of its own, such as the I(x; z) of validation rows; the phase ends when `patience`
    answers in a row are no more than the best before. From then on both move once a step. The
    published code has patience 5 for images and 1 for texts, and looks every 10 and 15 steps.

    decoder, encoder: optimisers of the parameters of p and of q. clip bounds the gradient's norm
    over both. The step's module "lag" counts the encoder's extra steps (`inner`) and says whether
    the phase goes on (`lagging`). Raises `ValueError` for counts below 1 and optimisers that share
    parameters, `FloatingPointError` as `descend` does.
    """
    if min(most, look, patience) < 1:
        raise ValueError(
            f"most, look and patience must be 1 or more, got {most}, {look} and {patience}"
        )
    held = {name: _held(o) for name, o in (("decoder", decoder), ("encoder", encoder))}
    if {id(v) for v in held["decoder"]} & {id(v) for v in held["encoder"]}:
        raise ValueError(
            "decoder and encoder hold the same parameters: build one optimiser from "
            "p.parameters() and the other from q.parameters()"
        )
    state = Lag()
    modules: dict[str, nn.Module] = {"p": p, "q": q, "lag": state}
    if isinstance(objective, nn.Module):
        modules["objective"] = objective
    descend = _descent(objective, p, q, held["decoder"] + held["encoder"], clip)

    def move(batch: Batch) -> Evaluation:
        lagging = bool(state.lagging)
        if lagging:
            _catch_up(lambda b: descend(b, encoder).loss.item(), batch, batches, state, most, look)
        evaluation = descend(batch, *((decoder,) if lagging else (decoder, encoder)))
        state.done += 1
        if lagging and int(state.done) % len(batches) == 0:
            _judge(state, modules, information, patience)
        return evaluation

    optimisers = {"decoder": decoder, "encoder": encoder}
    return Step(f"lag {name_of(objective)}", move, modules, optimisers)


def _descent(
    objective: Objective, p: Joint, q: Joint, everything: list[Any], clip: float | None
) -> Callable[..., Evaluation]:
    """One gradient of all parameters, for those optimisers that are handed over."""

    def descend(batch: Batch, *optimisers: Optimizer) -> Evaluation:
        for parameter in everything:
            parameter.grad = None
        evaluation = differentiate(objective, p, q, batch, everything, clip)
        for optimiser in optimisers:
            optimiser.step()
        return evaluation

    return descend


def _catch_up(
    descend: Callable[[Batch], float],
    batch: Batch,
    batches: Stream,
    state: Lag,
    most: int,
    look: int,
) -> None:
    """Encoder steps until the mean loss of `look` of them is not below that of those before."""
    before, losses = float("inf"), []
    for count in range(1, most):
        losses.append(descend(batch))
        state.inner += 1
        if count % look == 0:
            mean, losses = sum(losses) / len(losses), []
            if not mean < before:
                return
            before = mean
        batch = _like(batches.at(int(state.inner)), batch)


def _judge(
    state: Lag, modules: dict[str, nn.Module], information: Callable[[], float], patience: int
) -> None:
    from lvmlab.train import evaluating, quietly  # `train` itself is made of steps

    with evaluating(modules), quietly():
        value = state.best.new_tensor(float(information()))
    if value > state.best:
        state.best.copy_(value)
        state.since.zero_()
    else:
        state.since += 1
    state.lagging.fill_(int(state.since) < patience)


def _held(optimiser: Optimizer) -> list[Any]:
    return [v for group in optimiser.param_groups for v in group["params"]]


def _like(batch: Batch, other: Batch) -> Batch:
    device = next(iter(other.values())).device
    return {name: value.to(device) for name, value in batch.items()}
