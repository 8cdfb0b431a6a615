"""Joint distributions: products of conditionals that draw and score in one walk.

An objective is a sentence about two of them, so this file knows nothing about any objective,
any network or any distribution: a conditional is whatever returns a `Distribution` when it is
called with its parents.
"""

import math
import re
from collections.abc import Callable, Collection
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

Batch = dict[str, Tensor]
"""Values by variable name; the first axis of each holds the B examples."""

Conditional = Callable[..., Distribution]
"""p(x|z): call it with z, get a distribution over x."""

_FACTOR = re.compile(r"\w+(\|\w+(,\w+)*)?")


class Evaluation(NamedTuple):
    """What an objective says about p and q on one batch."""

    loss: Tensor
    """(), what the optimiser descends, weights included."""
    terms: dict[str, Tensor]
    """(B,) each, unweighted, in nats unless the name carries another unit."""


class Objective(Protocol):
    """A sentence about two joints: a function when it has no state, an `nn.Module` when it has."""

    def __call__(self, p: "Joint", q: "Joint", batch: Batch) -> Evaluation: ...


class Draw(NamedTuple):
    """A completed batch, with the log-probability of every factor that scored it."""

    values: Batch
    log_prob: dict[str, Tensor]
    """(B,) nats under each factor's own text, for example "x|z"."""
    distributions: dict[str, Distribution]
    """The very distributions that drew and scored, for means and closed forms."""

    def nats(self, variables: Collection[str] | None = None) -> Tensor:
        """Summed log-probability of these variables (of all when None), (B,) nats.

        A variable without a factor here, such as the data of q, contributes nothing.
        """
        total: Tensor | None = None
        for text, nats in self.log_prob.items():
            if variables is None or variable_of(text) in variables:
                total = nats if total is None else total + nats
        if total is not None:
            return total
        like = next(iter(self.values.values()))
        return torch.zeros(len(like), device=like.device)


class Enumeration(NamedTuple):
    """A batch completed in every possible way, for latents with finitely many values."""

    log_joint: Tensor
    """(B, K) nats, log p(x, z); K runs over all combinations of the open latents."""
    values: Batch
    """(B, K, ...) each: known values repeated, latents enumerated, the last latent fastest."""


class Joint(nn.Module):
    """A product of conditionals, written as on the page and in drawing order.

    `Joint("p", {"z": prior, "x|z": decoder})` is p(z) p(x|z);
    `Joint("q", {"x": None, "z|x": encoder})` is q(x) q(z|x), where None marks the data.

    `validate` checks on every draw on a CPU that data are finite and that values lie inside the
    support of the factor that scores them. Switch it off inside `torch.vmap`, which allows no
    such question.

    Raises `ValueError` for a factor that cannot be read, a variable defined twice, a conditional
    that cannot be called, and parents that would only be drawn later.
    """

    def __init__(self, name: str, factors: dict[str, Conditional | None], validate: bool = True):
        super().__init__()
        _check_factors(name, factors)
        self.name, self.factors, self.validate = name, dict(factors), validate
        modules = {text: f for text, f in factors.items() if isinstance(f, nn.Module)}
        self.conditionals = nn.ModuleDict(modules)  # so that parameters() and to() reach them

    @property
    def variables(self) -> list[str]:
        """The variables this joint defines, in drawing order."""
        return [variable_of(text) for text in self.factors]

    def draw(self, known: Batch | None = None, size: int | None = None) -> Draw:
        """Keep what is known, draw the rest, score it all under the very same distributions.

        One walk, because a conditional may be random itself (dropout, refinement): scoring in a
        second walk would judge a value by another distribution than the one that drew it.
        `size` is the number of examples when nothing is known. Raises `ValueError` for unequal or
        empty first axes, missing parents, and factors that do not give (B,) log-probabilities.
        """
        values = dict(known or {})
        size = self._batch_size(values, size)
        log_prob, distributions = {}, {}
        for text, factor in self.factors.items():
            variable, parents = variable_of(text), parents_of(text)
            if factor is None:
                self._require([variable], values, f"its factor {self.name}({text}) is the data")
                self._check_finite(variable, values[variable])
                continue
            self._require(parents, values, f"{self.name}({text}) is conditioned on it")
            here = distributions[text] = factor(*(values[v] for v in parents))
            if variable not in values:
                draw = here.rsample if here.has_rsample else here.sample
                values[variable] = draw() if parents else draw((size,))
            else:
                self._check_support(text, here, values[variable])
            log_prob[text] = self._scored(text, here, values[variable], size)
        return Draw(values, log_prob, distributions)

    def score(self, values: Batch) -> Draw:
        """Like `draw`, but every variable must already have its value.

        Raises `ValueError` naming the variables that are missing.
        """
        self._require(self.variables, values, "score draws nothing; use draw to complete a batch")
        return self.draw(values)

    def enumerate(self, known: Batch) -> Enumeration:
        """Complete the batch in every way the finite latents allow, and score each completion.

        Rows are repeated K times, so memory grows with B x K; every conditional is called once.
        Raises `ValueError` for a latent whose support cannot be enumerated, and as `draw` does.
        """
        rows, size = dict(known), self._batch_size(known, None)
        log_joint = next(iter(known.values())).new_zeros(size, dtype=torch.get_default_dtype())
        for text, factor in self.factors.items():
            variable, parents = variable_of(text), parents_of(text)
            self._require(parents, rows, f"{self.name}({text}) is conditioned on it")
            if factor is None:
                continue
            here = factor(*(rows[v] for v in parents))
            if variable in rows:
                self._check_support(text, here, rows[variable])
                log_joint = log_joint + self._scored(text, here, rows[variable], len(log_joint))
                continue
            support, nats = _every_value(self.name, text, here, len(log_joint))
            rows = {name: v.repeat_interleave(len(support), 0) for name, v in rows.items()}
            rows[variable] = support.repeat(len(log_joint), *[1] * (support.ndim - 1))
            log_joint = (log_joint[:, None] + nats).flatten()
        values = {name: v.unflatten(0, (size, -1)) for name, v in rows.items()}
        return Enumeration(log_joint.unflatten(0, (size, -1)), values)

    def _batch_size(self, values: Batch, size: int | None) -> int:
        sizes = {name: len(v) if v.ndim else 0 for name, v in values.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(
                f"the values given to {self} have first axes of unequal length: {sizes}. "
                "Every variable needs one row for each example."
            )
        size = next(iter(sizes.values())) if sizes else size
        if size is None:
            raise ValueError(f"{self} got no values and no size: try draw(size=100)")
        if size < 1:
            raise ValueError(f"{self} got an empty batch ({sizes or size}): expected 1 row or more")
        return size

    def _require(self, needed: Collection[str], values: Batch, why: str) -> None:
        if missing := [v for v in needed if v not in values]:
            raise ValueError(
                f"{self} has no value for {missing}: {why}. "
                f"The batch holds {sorted(values)}; add the missing variables to it."
            )

    def _check_finite(self, variable: str, value: Tensor) -> None:
        if not self._checks(value) or not value.is_floating_point() or _finite(value):
            return
        if value.requires_grad:
            return  # drawn by a decoder that diverged: the step names the term, not the data
        rows = (~value.isfinite()).reshape(len(value), -1).any(1)
        raise ValueError(
            f"{variable!r} holds NaN or infinite values in {int(rows.sum())} of {len(value)} rows, "
            f"the first in row {int(rows.nonzero()[0])}. {self} expects finite data: clean it first"
        )

    def _check_support(self, text: str, here: Distribution, value: Tensor) -> None:
        if not self._checks(value) or _shape_problem(here, value):
            return  # the shape error that follows says more
        try:
            support = here.support
        except NotImplementedError:  # a distribution that declares none
            return
        if support is None or _anywhere(support) or _inside(support, value):
            return
        if value.is_floating_point() and not value.isfinite().all():
            return  # a diverged latent: the step names the term that is no longer finite
        raise ValueError(
            f"values of {variable_of(text)!r} lie outside the support of {self.name}({text}), "
            f"{support}: they run from {value.min().item():.4g} to {value.max().item():.4g}. "
            "Rescale the data or choose another conditional."
        )

    def _checks(self, value: Tensor) -> bool:
        # on an accelerator a check would wait for the device, factor by factor, step by step
        return self.validate and value.device.type == "cpu"

    def _scored(self, text: str, here: Distribution, value: Tensor, size: int) -> Tensor:
        if problem := _shape_problem(here, value):
            raise ValueError(f"{self.name}({text}) cannot score {variable_of(text)!r}: {problem}")
        nats = here.log_prob(value)
        if nats.shape != (size,):
            raise ValueError(
                f"log {self.name}({text}) has shape {tuple(nats.shape)}, expected ({size},), one "
                f"number for each example: {type(here).__name__} has batch_shape "
                f"{tuple(here.batch_shape)} and event_shape {tuple(here.event_shape)}. "
                "Wrap it in torch.distributions.Independent to make its last axes one event."
            )
        return nats

    def __str__(self) -> str:
        return " ".join(f"{self.name}({text})" for text in self.factors)

    def __repr__(self) -> str:
        return f"<Joint {self}>"


def variable_of(text: str) -> str:
    """The variable of a factor's text: "x" for "x|z,c"."""
    return text.partition("|")[0]


def parents_of(text: str) -> list[str]:
    """The parents in a factor's text: ["z", "c"] for "x|z,c"."""
    return [v for v in text.partition("|")[2].split(",") if v]


def _shape_problem(here: Distribution, value: Tensor) -> str | None:
    """What is wrong with the value's trailing axes, in words; None when they fit."""
    event = tuple(here.event_shape)
    if not event or value.shape[-len(event) :] == event:
        return None
    return (
        f"its distribution is over {event}, but the value has shape {tuple(value.shape)} "
        f"(first axis: examples). Check the network's outputs or reshape the data."
    )


def _every_value(name: str, text: str, here: Distribution, rows: int) -> tuple[Tensor, Tensor]:
    """All K values (K, *event) of a finite variable and their log-probabilities (rows, K)."""
    if not here.has_enumerate_support:
        raise ValueError(
            f"{name}({text}) is a {type(here).__name__}, whose values cannot be enumerated: this "
            "needs finite latents (Categorical, Bernoulli). Try elbo or importance_weighted."
        )
    support = here.enumerate_support(expand=False)
    nats = here.log_prob(support)  # (K, 1) or (K, rows); (K,) without parents
    nats = nats.T if nats.ndim == 2 else nats
    return support.reshape(len(support), *here.event_shape), nats.expand(rows, len(support))


def _anywhere(support: constraints.Constraint) -> bool:
    """Whether every real number is allowed, which needs no look at the value."""
    return getattr(support, "base_constraint", support) is constraints.real


def _finite(value: Tensor) -> bool:
    # a sum is several times as quick as a look at every number, and overflows at worst
    return math.isfinite(value.detach().sum().item()) or bool(value.isfinite().all())


def _inside(support: constraints.Constraint, value: Tensor) -> bool:
    base: Any = getattr(support, "base_constraint", support)
    if type(base) is constraints.interval and value.numel():
        ends = base.lower_bound, base.upper_bound
        if not any(isinstance(end, Tensor) for end in ends):  # quicker than comparing every number
            smallest, largest = (end.item() for end in torch.aminmax(value.detach()))
            return ends[0] <= smallest and largest <= ends[1]
    return bool(support.check(value).all())


def _check_factors(name: str, factors: dict[str, Conditional | None]) -> None:
    if not factors:
        raise ValueError(f'joint {name!r} has no factors: try Joint("p", {{"z": prior, ...}})')
    variables = [variable_of(text) for text in factors]
    for i, (text, factor) in enumerate(factors.items()):
        if not _FACTOR.fullmatch(text):
            raise ValueError(
                f"{name}({text}) cannot be read: expected a variable, or variable|parent,parent "
                'without spaces, such as "x|z,c"'
            )
        if variables.count(variables[i]) > 1:
            raise ValueError(f"{name} defines {variables[i]!r} twice: {list(factors)}")
        if factor is not None and not callable(factor):
            raise ValueError(
                f"{name}({text}) is a {type(factor).__name__}, which cannot be called with "
                "its parents: expected a function or module that returns a Distribution, or None"
            )
        if late := [v for v in parents_of(text) if v in variables[i:]]:
            raise ValueError(
                f"{name}({text}) needs {late} before they are drawn: write the factors in "
                f"drawing order, not {list(factors)}"
            )
