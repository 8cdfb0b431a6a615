"""Training: `fit` loops over steps, remembers what happened, and can be killed and resumed."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lvmlab import devices
from lvmlab.batches import Batches as Batches
from lvmlab.batches import Binarised as Binarised
from lvmlab.batches import Fresh as Fresh
from lvmlab.batches import Stream
from lvmlab.checkpoint import check_kinds
from lvmlab.history import History as History
from lvmlab.joint import Batch, Evaluation, Joint, Objective
from lvmlab.presets import preset_name
from lvmlab.resuming import Run, restore
from lvmlab.resuming import resume as resume
from lvmlab.resuming import save as save
from lvmlab.steps import Step, not_finite

_FLUSH = 1000  # steps whose terms may wait on the device


def fit(
    step: Step,
    batches: Stream | Iterable[Batch],
    *,
    steps: int | None = None,
    epochs: float | None = None,
    schedulers: Sequence[LRScheduler | ReduceLROnPlateau] = (),
    validate: Callable[[], float] | None = None,
    validate_every: int | None = None,
    patience: int | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int | None = None,
    resume: bool = True,
    settings: dict[str, Any] | None = None,
    device: str | torch.device = "auto",
    progress: bool | None = None,
) -> History:
    """Run a step for so many steps or epochs and return its `History`.

    batches: `Batches`, `Fresh`, or any iterable of batches (then without checkpoints).
    schedulers: torch's own, stepped after every step; a `ReduceLROnPlateau` after every validation.
    validate: a function without arguments whose number is to fall, such as a validation loss; it
    runs every `validate_every` steps (an epoch when None), in eval mode and under its own random
    state, so that looking does not change the run. The best weights are put back at the end;
    `patience` is how many validations in a row may pass without a better one, as of torch's
    `ReduceLROnPlateau`: the next such one stops the run.
    checkpoint: a file, written every `checkpoint_every` steps (an epoch when None) and at the end.
    When it exists the run goes on from there, bit for bit on a CPU, unless `resume=False`; its
    `settings` (yours, the preset, the batches) must agree. The history can be read at any time in a
    file beside it, named as it is with ".history.json" at the end. progress: a bar; None shows one
    when the run lasts longer than two seconds.

    Raises `FloatingPointError` naming the objective, the term and the step when the loss is no
    longer finite (the last good checkpoint stays), `ValueError` for arguments that make no sense,
    settings that a checkpoint cannot hold, and a checkpoint of another preset, model or data set.
    """
    stream: Any = batches if hasattr(batches, "at") else _Endless(batches)  # type: ignore[arg-type]
    total = _total(steps, epochs, stream)
    _check_every(validate_every, patience, validate, checkpoint, stream)
    _check_stored(step, stream)
    device = devices.pick(device)
    _place(step.modules, device)
    if isinstance(stream, Batches):
        stream.to(device)
    run, settings = Run(), _settings(step, stream, settings)
    if checkpoint is not None:
        check_kinds(settings)  # now, because the first save may come late
        if resume and Path(checkpoint).is_file():
            restore(Path(checkpoint), step, schedulers, run, settings)
    look_every, save_every = validate_every or len(stream), checkpoint_every or len(stream)
    train(True, step.modules)
    with _bar(total, run.done, progress) as bar:
        stop, started = run.done >= total or _exhausted(run, patience), time.perf_counter()
        while not stop:
            _advance(run, step, stream, device, schedulers, checkpoint)
            looked = validate is not None and run.done % look_every == 0
            if looked and validate is not None:
                _look(run, step, validate, schedulers)
            stop = run.done >= total or (looked and _exhausted(run, patience))
            saves = checkpoint is not None and (run.done % save_every == 0 or stop)
            if looked or saves or stop or len(run.waiting) >= _FLUSH:
                started = _flush(run, step, checkpoint, bar, started)
            if saves and checkpoint is not None:
                run.history.outcome = _outcome(run, total, stop)
                save(checkpoint, step, schedulers, run, settings)
            bar.update(1)
    return _finish(run, step, total)


def watch(
    step: Step,
    batches: Stream | Iterable[Batch],
    *,
    steps: int,
    every: int = 1,
    seed: int | None = None,
    schedulers: Sequence[LRScheduler] = (),
    device: str | torch.device = "auto",
) -> Iterator[int]:
    """Train in turns, for somebody who looks in between: `for done in watch(...): look()`.

    Yields 0 before the first step, then the number of steps done after every `every` steps, and at
    last `steps`. With `seed` the steps draw from a random state of their own, so that nothing done
    between two turns changes the training, and the training nothing outside. Schedulers as in
    `fit`; there is no history, validation or checkpoint. Raises `ValueError` for `steps` or `every`
    below 1, and as `fit` does `FloatingPointError` with the number of the step.
    """
    if steps < 1 or every < 1:
        raise ValueError(f"steps and every must be 1 or more, got steps={steps}, every={every}")
    stream: Any = batches if hasattr(batches, "at") else _Endless(batches)  # type: ignore[arg-type]
    return _turns(step, stream, steps, every, seed, schedulers, devices.pick(device))


def _turns(
    step: Step,
    stream: Stream,
    steps: int,
    every: int,
    seed: int | None,
    schedulers: Sequence[LRScheduler],
    device: torch.device,
) -> Iterator[int]:
    run, random = Run(), None
    _place(step.modules, device)
    yield 0
    while run.done < steps:
        train(True, step.modules)
        with nullcontext() if seed is None else quietly(seed):
            if seed is not None and random is not None:
                torch.set_rng_state(random[0])
                torch.cuda.set_rng_state_all(random[1])
            for _ in range(min(every, steps - run.done)):
                _advance(run, step, stream, device, schedulers, None)
            random = torch.get_rng_state(), torch.cuda.get_rng_state_all()
        run.waiting.clear()
        yield run.done


def evaluate(
    objective: Objective,
    p: Joint,
    q: Joint,
    batches: Iterable[Batch],
    device: str | torch.device = "auto",
) -> dict[str, float]:
    """Means of the loss and of every term over all rows, in eval mode and without gradients.

    batches: an iterable of batches, such as `Batches(held_out, size=500)`, which gives one epoch
    in row order. Raises `ValueError` when there is none.
    """
    device = devices.pick(device)
    modules = {"p": p, "q": q} | (
        {"objective": objective} if isinstance(objective, nn.Module) else {}
    )
    sums: dict[str, Tensor] = {}
    rows = 0
    with evaluating(modules), torch.no_grad():
        _place(modules, device)
        for batch in batches:
            evaluation = objective(p, q, _move(batch, device))
            size = len(next(iter(batch.values())))
            rows += size
            for name, value in (_means(evaluation)).items():
                sums[name] = sums.get(name, torch.zeros((), device=device)) + value * size
    if not rows:
        raise ValueError("batches gave nothing to evaluate: expected one batch or more")
    return {name: (value / rows).item() for name, value in sums.items()}


def _place(modules: dict[str, nn.Module], device: torch.device) -> None:
    for module in modules.values():
        module.to(device)


def _settings(step: Step, stream: Any, given: dict[str, Any] | None) -> dict[str, Any]:
    """What a checkpoint must agree with."""
    batches = stream.describe() if hasattr(stream, "describe") else {}
    return {"preset": preset_name(), "step": step.name, "batches": batches} | (given or {})


def _advance(
    run: Run,
    step: Step,
    stream: Stream,
    device: torch.device,
    schedulers: Sequence[Any],
    checkpoint: str | Path | None,
) -> None:
    try:
        evaluation = step(_move(stream.at(run.done), device))
    except FloatingPointError as error:
        kept = f" The last good checkpoint is {checkpoint}." if checkpoint else ""
        raise FloatingPointError(f"step {run.done}: {error}{kept}") from error
    except ValueError as error:
        error.add_note(f"in step {run.done} of {step.name}")
        raise
    run.waiting.append(_means(evaluation))
    for scheduler in schedulers:
        if not isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step()
    run.done += 1


def _look(run: Run, step: Step, validate: Callable[[], float], schedulers: Sequence[Any]) -> None:
    with evaluating(step.modules), quietly():
        value = float(validate())
    run.history.validation.append((run.done, value))
    run.since_best += 1
    if value < run.best:
        run.best, run.best_step, run.since_best = value, run.done, 0
        run.best_weights = {
            name: {k: v.detach().clone() for k, v in m.state_dict().items()}
            for name, m in step.modules.items()
        }
    for scheduler in schedulers:
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(value)


def _flush(run: Run, step: Step, checkpoint: str | Path | None, bar: Any, started: float) -> float:
    """Write the waiting terms and the seconds since `started` into the history; the time now."""
    first = run.done - len(run.waiting)
    run.history.append(run.waiting)
    rows, run.waiting = run.waiting, []
    for i, loss in enumerate(run.history["loss"][first:]):
        if loss != loss or abs(loss) == float("inf"):
            kept = f" The last good checkpoint is {checkpoint}." if checkpoint else ""
            raise FloatingPointError(f"step {first + i}: {not_finite(step.name, rows[i])}{kept}")
    bar.set_postfix(loss=f"{run.history['loss'][-1]:.4g}", refresh=False)
    now = time.perf_counter()
    run.history.seconds += now - started
    return now


def _finish(run: Run, step: Step, total: int) -> History:
    """Say how it ended, and put the best weights back where there was a look."""
    run.history.outcome = _outcome(run, total, True)
    for name, weights in run.best_weights.items():
        step.modules[name].load_state_dict(weights)
    return run.history


def _means(evaluation: Evaluation) -> dict[str, Tensor]:
    means = {name: values.detach().mean() for name, values in evaluation.terms.items()}
    return {"loss": evaluation.loss.detach()} | means


def _move(batch: Batch, device: torch.device) -> Batch:
    return {name: value.to(device, non_blocking=True) for name, value in batch.items()}


def _exhausted(run: Run, patience: int | None) -> bool:
    return patience is not None and run.since_best > patience


def _outcome(run: Run, total: int, stopped: bool) -> str:
    best = f", best validation {run.best:.6g} at step {run.best_step}" if run.best_weights else ""
    how = "finished" if run.done >= total else "stopped early" if stopped else "unfinished"
    return f"{how} after {run.done} steps{best}"


def _total(steps: int | None, epochs: float | None, stream: Stream) -> int:
    if (steps is None) == (epochs is None):
        raise ValueError(f"give steps or epochs, one of them: got steps={steps}, epochs={epochs}")
    total = steps if steps is not None else round(epochs * len(stream))  # type: ignore[operator]
    if total < 1:
        raise ValueError(f"expected one step or more, got steps={steps}, epochs={epochs}")
    return total


def _check_every(
    validate_every: int | None,
    patience: int | None,
    validate: Callable[[], float] | None,
    checkpoint: str | Path | None,
    stream: Stream,
) -> None:
    if patience is not None and validate is None:
        raise ValueError("patience needs a number to watch: give validate=, a function")
    if validate_every is not None and validate_every < 1:
        raise ValueError(f"validate_every must be 1 or more, got {validate_every}")
    if checkpoint is not None and isinstance(stream, _Endless):
        raise ValueError(
            "checkpoints need batches whose order can be restored: use Batches or Fresh"
        )


def _check_stored(step: Step, stream: Stream) -> None:
    """Now, because the first batch with a row beyond what is stored may come late."""
    index = getattr(stream, "values", {}).get("index")
    modules: list[Any] = [m for top in step.modules.values() for m in top.modules()]
    for stored in modules:
        if (
            hasattr(stored, "store")
            and index is not None
            and int(index.max()) >= len(stored.latents)
        ):
            raise ValueError(
                f"the data have rows up to index {int(index.max())}, but {type(stored).__name__} "
                f"stores {len(stored.latents)} latents: draw one for each row of the data"
            )


class _Endless:
    """Any iterable of batches, started again whenever it ends."""

    def __init__(self, batches: Iterable[Batch]):
        self.batches, self.iterator = batches, iter(batches)

    def __len__(self) -> int:
        return len(self.batches) if isinstance(self.batches, Sized) else _FLUSH

    def at(self, step: int) -> Batch:
        batch = next(self.iterator, None)
        if batch is None:
            self.iterator = iter(self.batches)
            batch = next(self.iterator, None)
        if batch is None:
            raise ValueError(f"batches ran out at step {step}: give Batches, Fresh or a list")
        return batch


def train(mode: bool, modules: dict[str, nn.Module]) -> None:
    """Put all modules into train mode, or eval mode when False."""
    for module in modules.values():
        module.train(mode)


@contextmanager
def evaluating(modules: dict[str, nn.Module]) -> Iterator[None]:
    """Eval mode inside, each module's own mode again afterwards."""
    modes = {name: {m: m.training for m in top.modules()} for name, top in modules.items()}
    try:
        train(False, modules)
        yield
    finally:
        for held in modes.values():
            for module, mode in held.items():
                module.training = mode


@contextmanager
def quietly(seed: int = 0) -> Iterator[None]:
    """A random state of its own inside, the outer one untouched: the same numbers every time."""
    devices_here = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices_here):
        torch.manual_seed(seed)
        yield


def _bar(total: int, done: int, progress: bool | None) -> Any:
    from tqdm.auto import tqdm

    return tqdm(
        total=total,
        initial=done,
        desc="fit",
        unit="step",
        leave=False,
        delay=0 if progress else 2,
        disable=without_bar(progress),
    )


def without_bar(progress: bool | None) -> bool:
    """Whether to show no bar; None leaves it to $TQDM_DISABLE, which tqdm's notebooks ignore."""
    return bool(os.environ.get("TQDM_DISABLE")) if progress is None else not progress
