"""Many seeds at once: small models of one architecture, trained together under `torch.vmap`.

A small network leaves most of a processor idle; ten of them stacked into one cost little more than
one. Each seed keeps its own weights, batches and noise, so its result is that of a run of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lvmlab import devices, noise
from lvmlab.batches import Stream
from lvmlab.history import History
from lvmlab.joint import Batch, Evaluation, Joint
from lvmlab.objectives.combine import name_of
from lvmlab.train import quietly, without_bar

_FLUSH = 500  # steps whose terms may wait on the device


@dataclass
class Trained:
    """One seed's result: its joints with their weights, and what happened."""

    seed: int
    p: Joint
    q: Joint
    history: History = field(default_factory=History)


class _Model(nn.Module):
    """p, q and the objective as one module, so that one call swaps all of their weights."""

    def __init__(self, p: Joint, q: Joint, objective: Callable[..., Evaluation]):
        super().__init__()
        self.p, self.q, self.objective = p, q, objective

    def forward(self, batch: Batch, supply: list[Tensor], given: dict[str, Tensor]) -> Any:
        turn = iter(supply)
        with noise.supplied(lambda _: next(turn)):
            evaluation = self.objective(self.p, self.q, batch, **given)
        means = {name: values.mean() for name, values in evaluation.terms.items()}
        return evaluation.loss, means


def fit_many(
    make: Callable[[int], tuple[Joint, Joint]],
    seeds: Sequence[int],
    batches: Callable[[int], Stream],
    objective: Callable[..., Evaluation],
    *,
    steps: int,
    lr: float = 1e-3,
    schedule: Callable[[int], float] | None = None,
    beta: Callable[[int], float] | None = None,
    held_out: Callable[[int], Batch] | None = None,
    validate_every: int | None = None,
    patience: int | None = None,
    device: str | torch.device = "auto",
    progress: bool | None = None,
) -> list[Trained]:
    """Train one model for each seed, all together, with Adam; results in the order of `seeds`.

    make(seed) builds p and q, with torch seeded before it; batches(seed) gives that seed's stream,
    all of one shape; objective: a function, called with `beta=beta(step)` when beta is given.
    schedule(step) multiplies lr. held_out(seed) is a batch whose loss (with beta 1) is looked at
    every `validate_every` steps, an epoch when None: the best weights of each seed are put back at
    the end; a seed without a look, or whose looks gave no number, keeps its last. With `patience` a
    seed may have that many looks in a row without a better one; with one more it is judged no more,
    and training ends when all are. Gaussian noise comes from a generator of each seed's own; other
    draws (categories) are independent between the seeds but not those of a run alone. torch's
    random state is the caller's again at the end. The objective must draw the same noise at every
    beta. Joints are not validated inside.
    Raises `FloatingPointError` naming objective, seed, term and step for a loss that is no longer
    finite, `ValueError` without seeds or for seeds given twice,
    and for models of different shapes.
    """
    seeds = list(seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be one or more different numbers, got {seeds}")
    if steps < 1:
        raise ValueError(f"steps must be 1 or more, got {steps}")
    streams = [batches(seed) for seed in seeds]
    with quietly(), _bar(steps, len(seeds), progress) as bar:
        group = _Group(make, seeds, streams, objective, devices.pick(device))
        optimiser = torch.optim.Adam(list(group.weights.values()), lr=lr, fused=group.fused)
        look_every = validate_every or len(streams[0])
        best = _Best(group, held_out, patience)
        for step in range(steps):
            for options in optimiser.param_groups:
                options["lr"] = lr * (schedule(step) if schedule else 1.0)
            loss, means = group.losses(step, {} if beta is None else {"beta": beta(step)})
            optimiser.zero_grad(set_to_none=True)
            loss.sum().backward()
            optimiser.step()
            group.note(step, loss, means)
            if held_out is not None and (step + 1) % look_every == 0:
                best.look(step + 1)
                if best.over:
                    break
            bar.update(1)
        group.flush()
    return group.split(best.weights())


class _Group:
    """The stacked models, their streams and noise, and the terms that wait to be written down."""

    def __init__(
        self,
        make: Callable[[int], tuple[Joint, Joint]],
        seeds: list[int],
        streams: list[Stream],
        objective: Callable[..., Evaluation],
        device: torch.device,
    ):
        self.name, self.device, self.seeds = name_of(objective), device, seeds
        self.streams = streams
        self.generators = [noise.generator(seed, "draws") for seed in seeds]
        self.trained, models = [], []
        for seed in seeds:
            torch.manual_seed(seed)
            p, q = make(seed)
            p.validate = q.validate = False
            self.trained.append(Trained(seed, p, q))
            models.append(_Model(p, q, objective).to(device))
        shapes = [[tuple(v.shape) for v in m.state_dict().values()] for m in models]
        if any(s != shapes[0] for s in shapes):
            raise ValueError("make must build models of one architecture for every seed")
        weights, self.buffers = torch.func.stack_module_state(models)
        trains = {name for name, v in models[0].named_parameters() if v.requires_grad}
        self.weights = {n: v.detach().requires_grad_() for n, v in weights.items() if n in trains}
        self.fixed = {n: v.detach() for n, v in weights.items() if n not in trains}
        self.fused = device.type in ("cpu", "cuda")
        self.model, self.places = models[0], _places(models[0])
        self.shapes: dict[Any, list[torch.Size]] = {}
        self.waiting: list[tuple[Tensor, dict[str, Tensor]]] = []

    def losses(self, step: int, given: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss (S,) and term means (S,) of every seed on its own batch of this step."""
        drawn = [stream.at(step) for stream in self.streams]
        batch = {name: torch.stack([b[name] for b in drawn]) for name in drawn[0]}
        return self.call(batch, self.generators, given)

    def call(
        self, batch: Batch, generators: list[torch.Generator], given: dict[str, Any]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        batch = {name: value.to(self.device) for name, value in batch.items()}
        supply = [
            torch.stack([torch.randn(shape, generator=g) for g in generators]).to(self.device)
            for shape in self._noise_shapes(batch, given)
        ]

        def one(weights: Batch, buffers: Batch, batch: Batch, supply: list[Tensor]) -> Any:
            held = weights | buffers
            state = {place: held[name] for place, name in self.places.items()}
            inputs = (batch, supply, given)
            return torch.func.functional_call(self.model, state, inputs, tie_weights=False)

        every = torch.vmap(one, in_dims=(0, 0, 0, 0), randomness="different")
        return every(self.weights | self.fixed, self.buffers, batch, supply)

    def _noise_shapes(self, batch: Batch, given: dict[str, Any]) -> list[torch.Size]:
        """The shapes of the noise one model draws on such a batch, found by trying it once."""
        key = tuple((name, tuple(v.shape)) for name, v in batch.items())
        if key not in self.shapes:
            found: list[torch.Size] = []

            def keep(value: Tensor) -> Tensor:
                found.append(value.shape)
                return torch.zeros_like(value)

            model = self.model
            with torch.no_grad(), noise.supplied(keep):
                first = {name: value[0] for name, value in batch.items()}
                model.objective(model.p, model.q, first, **given)
            self.shapes[key] = found
        return self.shapes[key]

    def note(self, step: int, loss: Tensor, means: dict[str, Tensor]) -> None:
        """Keep the terms of a step on the device."""
        self.waiting.append((loss.detach(), {name: v.detach() for name, v in means.items()}))
        if len(self.waiting) >= _FLUSH:
            self.flush()

    def flush(self) -> None:
        """Write the waiting terms into the histories, and look whether all losses are finite."""
        if not self.waiting:
            return
        done = len(self.trained[0].history)
        names = list(self.waiting[0][1])
        table = torch.stack(
            [torch.stack([loss, *(means[n] for n in names)]) for loss, means in self.waiting]
        ).cpu()  # (steps, 1 + terms, S)
        self.waiting = []
        bad = (~table.isfinite()).nonzero().tolist()
        if bad:
            step, term, seed = bad[0]
            raise FloatingPointError(
                f"step {done + step}: {['the loss', *names][term]} of {self.name} is no longer "
                f"finite for seed {self.seeds[seed]}. Try a smaller learning rate or a larger "
                "floor on the scales."
            )
        for place, trained in enumerate(self.trained):
            for row, name in enumerate(["loss", *names]):
                values = table[:, row, place].tolist()
                trained.history.terms.setdefault(name, []).extend(values)

    def split(self, weights: dict[str, Tensor]) -> list[Trained]:
        """Give each seed's joints their own weights back."""
        steps = len(self.trained[0].history)
        for place, trained in enumerate(self.trained):
            for name in ("p", "q"):
                joint, start = getattr(trained, name), f"{name}."
                own = {
                    key.removeprefix(start): value[place].detach().clone()
                    for key, value in (weights | self.fixed | self.buffers).items()
                    if key.startswith(start)
                }
                joint.load_state_dict(joint.state_dict() | own)
                joint.validate = True
            trained.history.outcome = f"finished after {steps} steps, {len(self.seeds)} together"
        return self.trained


def _places(model: nn.Module) -> dict[str, str]:
    """Every place of a weight or buffer, each module once, and the name of what is there.

    p and q may share a module (a VampPrior's encoder) or a weight: `torch.func.functional_call`
    follows tied weights by all names that a module has, and then fails where the module is one.
    """
    first: dict[int, str] = {}
    found = {}
    for prefix, module in model.named_modules():
        once: dict[str, Any] = {"recurse": False, "remove_duplicate": False}
        for values in (module.named_parameters, module.named_buffers):
            for name, value in values(prefix, **once):
                found[name] = first.setdefault(id(value), name)
    return found


class _Best:
    """The best weights of each seed so far, by the loss of its held-out batch."""

    def __init__(
        self, group: _Group, held_out: Callable[[int], Batch] | None, patience: int | None
    ):
        self.group, self.patience = group, patience
        self.kept = group.weights  # until a look replaces those of a seed by a copy
        self.value = torch.full((len(group.seeds),), torch.inf, device=group.device)
        self.since = torch.zeros(len(group.seeds), dtype=torch.long, device=group.device)
        if held_out is not None:
            batches = [held_out(seed) for seed in group.seeds]
            self.batch = {name: torch.stack([b[name] for b in batches]) for name in batches[0]}

    def weights(self) -> dict[str, Tensor]:
        """The best of each seed; of one that no look has given a number, those of now."""
        return _where(self.value < torch.inf, self.kept, self.group.weights)

    @property
    def over(self) -> bool:
        """Whether every seed has run out of patience."""
        return self.patience is not None and bool((self.since > self.patience).all())

    def look(self, step: int) -> None:
        """Judge every seed that still has patience, always with the same noise."""
        generators = [noise.generator(s, "looks") for s in self.group.seeds]
        with torch.no_grad():
            self.group.model.eval()
            loss, _ = self.group.call(self.batch, generators, {})
            self.group.model.train()
        judged = torch.ones_like(self.since, dtype=torch.bool)
        if self.patience is not None:
            judged = self.since <= self.patience
        better = judged & (loss < self.value)
        self.value = torch.where(better, loss, self.value)
        self.since = torch.where(better, 0, self.since + 1)
        self.kept = _where(better, self.group.weights, self.kept)
        for trained, value, counts in zip(
            self.group.trained, loss.tolist(), judged.tolist(), strict=True
        ):
            if counts:
                trained.history.validation.append((step, value))


def _where(seeds: Tensor, one: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, Tensor]:
    """A copy: the weights of `one` for the seeds (S,) that are True, of `other` for the rest."""

    def chosen(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(seeds.view(-1, *[1] * (a.ndim - 1)), a.detach(), b.detach())

    return {name: chosen(value, other[name]) for name, value in one.items()}


def _bar(steps: int, seeds: int, progress: bool | None) -> Any:
    from tqdm.auto import tqdm

    words = {"desc": f"{seeds} seeds", "unit": "step", "disable": without_bar(progress)}
    return tqdm(total=steps, leave=False, delay=2, **words)
