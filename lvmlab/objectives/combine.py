"""Objectives made of objectives: weighted sums, and weights that grow during training."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lvmlab.joint import Batch, Evaluation, Joint, Objective


class weighted(nn.Module):  # noqa: N801 - used like a function, as on the page: weighted(...)
    """A weighted sum of objectives: `weighted((elbo, 1.0), (InfoNCE(critic), 0.5))`.

    loss: sum of weight * loss. Terms: those of all parts, unweighted; when two parts use one name
    the later one is called `name (2)`, and so on. Objectives that are modules are registered, so
    that their parameters are trained and saved.
    Raises `ValueError` without parts and for weights that are not finite numbers.
    """

    def __init__(self, *parts: tuple[Objective, float]):
        super().__init__()
        if not parts:
            raise ValueError("weighted needs one part or more: try weighted((elbo, 1.0))")
        for part in parts:
            if not (isinstance(part, tuple) and len(part) == 2 and callable(part[0])):
                raise ValueError(f"each part must be (objective, weight), got {part!r}")
            if not torch.tensor(float(part[1])).isfinite():
                raise ValueError(f"weights must be finite, got {part[1]} for {name_of(part[0])}")
        self.parts = parts
        self.stateful = nn.ModuleList(o for o, _ in parts if isinstance(o, nn.Module))

    def forward(self, p: Joint, q: Joint, batch: Batch) -> Evaluation:
        loss = torch.zeros(())
        terms: dict[str, Tensor] = {}
        for objective, weight in self.parts:
            part = objective(p, q, batch)
            loss = loss.to(part.loss) + weight * part.loss
            for name, values in part.terms.items():
                terms[_free(name, terms)] = values
        return Evaluation(loss, terms)

    def __repr__(self) -> str:
        return " + ".join(f"{weight:g} {name_of(objective)}" for objective, weight in self.parts)


class annealed(nn.Module):  # noqa: N801 - used like a function
    """An objective whose weight grows from 0 to 1 over its first `over` training steps.

    `annealed(elbo, over=10_000)` calls `elbo(p, q, batch, beta=min(1, step / over))`. The step is
    a buffer, so a resumed run goes on where it was; in eval mode the weight is 1 and nothing is
    counted (`kl-annealing-schedule`; `annealed-loss`).
    Raises `ValueError` for `over` below 1.
    """

    tick: Tensor

    def __init__(self, objective: Callable[..., Evaluation], over: int, argument: str = "beta"):
        super().__init__()
        if over < 1:
            raise ValueError(f"over must be a number of steps from 1 up, got {over}")
        self.objective, self.over, self.argument = objective, over, argument
        self.register_buffer("tick", torch.zeros((), dtype=torch.long))

    @property
    def weight(self) -> Tensor:
        """The weight of the next call, ()."""
        if not self.training:
            return torch.ones((), device=self.tick.device)
        return (self.tick / self.over).clamp(max=1.0)

    def forward(self, p: Joint, q: Joint, batch: Batch) -> Evaluation:
        evaluation = self.objective(p, q, batch, **{self.argument: self.weight})
        if self.training:
            self.tick += 1
        return evaluation

    def __repr__(self) -> str:
        return f"annealed {name_of(self.objective)}"


def name_of(objective: Callable) -> str:
    """The objective's name for messages and legends: its function's, or its own repr."""
    if isinstance(objective, weighted | annealed):
        return repr(objective)
    inner = getattr(objective, "func", objective)  # functools.partial
    name = getattr(inner, "__name__", type(inner).__name__)
    settings = getattr(objective, "keywords", {})
    return name + "".join(f" {key}={value}" for key, value in settings.items())


def _free(name: str, taken: dict[str, Tensor]) -> str:
    if name not in taken:
        return name
    return next(f"{name} ({i})" for i in range(2, len(taken) + 3) if f"{name} ({i})" not in taken)
