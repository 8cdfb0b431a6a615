"""What is kept of a run: the state beside its modules, written to one file and put back."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from lvmlab import checkpoint as files
from lvmlab.history import History
from lvmlab.steps import Step

KEPT = ("done", "since_best", "best", "best_step", "best_weights")


@dataclass
class Run:
    """The state of a run that is not in modules, optimisers or schedulers."""

    done: int = 0
    since_best: int = 0
    best: float = float("inf")
    best_step: int = 0
    best_weights: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    history: History = field(default_factory=History)
    waiting: list[dict[str, Tensor]] = field(default_factory=list)


def save(
    path: str | Path,
    step: Step,
    schedulers: Sequence[Any] = (),
    run: Run | None = None,
    settings: dict[str, Any] | None = None,
) -> None:
    """Write modules, optimisers, schedulers, random state and history to one file, atomically.

    The history is written beside it as JSON, to the file's name followed by ".history.json".
    Raises `FloatingPointError`, and keeps the file that is there, when a parameter is not finite or
    a buffer holds NaN; a buffer may be infinite, such as a best value before the first look.
    """
    run, path = run or Run(), Path(path)
    for name, module in step.modules.items():
        learned = {key for key, _ in module.named_parameters(remove_duplicate=False)}
        for key, value in module.state_dict().items():
            if (value.isnan() if key not in learned else ~value.isfinite()).any():
                raise FloatingPointError(
                    f"{name}.{key} is no longer finite after step {run.done}: nothing was saved, "
                    f"{path} is as before. Try a smaller learning rate or a clip."
                )
    state = {
        "settings": settings or {},
        "modules": {name: dict(m.state_dict()) for name, m in step.modules.items()},
        "optimisers": {name: o.state_dict() for name, o in step.optimisers.items()},
        "schedulers": [s.state_dict() for s in schedulers],
        "run": {name: getattr(run, name) for name in KEPT},
        "history": asdict(run.history),
        "random": files.random_state(),
    }
    files.write(path, state)
    readable = path.with_name(f"{path.name}.history.json")  # its own: runs may share a folder
    with files.replacing(readable) as unfinished:
        unfinished.write_text(json.dumps(state["history"]))


def resume(
    path: str | Path,
    step: Step,
    schedulers: Sequence[Any] = (),
    settings: dict[str, Any] | None = None,
) -> History:
    """Put a checkpoint back into a step's modules, optimisers and schedulers; return its history.

    Raises `FileNotFoundError`, and `ValueError` for a damaged file or one of another preset,
    model or data set; nothing is changed then. `settings` given here must agree with the file's.
    """
    run = Run()
    restore(Path(path), step, schedulers, run, settings)
    return run.history


def restore(
    path: Path, step: Step, schedulers: Sequence[Any], run: Run, settings: dict[str, Any] | None
) -> None:
    """Put the file into all of these, as `resume` does; nothing moves unless all of it fits."""
    state = files.read(path)
    files.check_settings(path, state["settings"], settings or {})
    files.check_weights(path, state["modules"], step.modules)
    for kind, held, given in (
        ("optimisers", state["optimisers"], step.optimisers),
        ("schedulers", state["schedulers"], schedulers),
    ):
        if len(held) != len(given):
            raise ValueError(f"{path} holds {len(held)} {kind}, this run has {len(given)}")
    for name, optimiser in step.optimisers.items():
        held = state["optimisers"].get(name, {"param_groups": []})
        theirs, ours = (
            [len(g["params"]) for g in o["param_groups"]] for o in (held, optimiser.state_dict())
        )
        if theirs != ours:
            raise ValueError(
                f"{path}, optimiser {name!r}: expected groups of {ours} parameters, the file has "
                f"{theirs or 'none of that name'}"
            )
    for name, module in step.modules.items():
        module.load_state_dict(state["modules"][name])
    for name, optimiser in step.optimisers.items():
        optimiser.load_state_dict(state["optimisers"][name])
    for scheduler, held in zip(schedulers, state["schedulers"], strict=True):
        scheduler.load_state_dict(held)
    for name in KEPT:
        setattr(run, name, state["run"][name])
    run.history = History(**state["history"])
    run.history.validation = [(int(s), v) for s, v in run.history.validation]
    files.set_random_state(state["random"])
