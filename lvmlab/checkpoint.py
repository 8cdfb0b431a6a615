"""Checkpoints: one safetensors file whose header carries the rest of the state as JSON.

One file, written beside its destination and renamed over it, is whole or not there: a run killed
while it saves leaves the previous checkpoint. There is no pickle, so loading runs no code.
"""

import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

FORMAT = "lvmlab checkpoint 1"


def write(path: str | Path, state: dict[str, Any]) -> None:
    """Save a tree of dicts, lists, tuples, numbers, strings and tensors, atomically.

    Raises `TypeError` for anything else, before the file is touched.
    """
    path = Path(path)
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_pack(state, "state", tensors))
    with replacing(path) as unfinished:
        save_file(tensors, unfinished, metadata={"format": FORMAT, "tree": tree})
        with open(unfinished, "rb") as file:
            os.fsync(file.fileno())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, renamed over it when all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for orphan in path.parent.glob(".*.unfinished"):  # of a save of this very file that was killed
        if orphan.name.removeprefix(f".{path.name}.").removesuffix(".unfinished").isdigit():
            orphan.unlink(missing_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def read(path: str | Path) -> dict[str, Any]:
    """The tree that `write` saved, tensors on the CPU.

    Raises `FileNotFoundError`, and `ValueError` for a file that is damaged or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise ValueError(
                    f"{path} is a safetensors file but not one of {FORMAT!r} "
                    f"(it says {header.get('format')!r}): give another path"
                )
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{path} cannot be read as a checkpoint ({error}): it is damaged or cut short. "
            "Delete it and start again, or give another path."
        ) from error
    return _unpack(json.loads(header["tree"]), tensors)


def random_state() -> dict[str, Any]:
    """The state of every random number generator a run may use: torch, numpy, Python."""
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": _numpy_state(),
        "python": random.getstate(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Put back what `random_state` returned; accelerators that are not here are left out."""
    torch.set_rng_state(state["torch"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    random.setstate(state["python"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    if "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])


def check_settings(path: Path, held: dict[str, Any], given: dict[str, Any]) -> None:
    """Raise `ValueError` unless what is given agrees with what the checkpoint holds."""
    if differ := {k: (held.get(k), v) for k, v in given.items() if held.get(k) != v}:
        words = "; ".join(
            f"{k} is {old!r} there and {new!r} here" for k, (old, new) in differ.items()
        )
        raise ValueError(
            f"{path} is a checkpoint of another run: {words}. Give another path, delete the file, "
            "or pass resume=False to write over it."
        )


def check_kinds(settings: dict[str, Any]) -> None:
    """Raise `ValueError` that names a setting of a kind that `write` cannot save."""
    for name, value in settings.items():
        try:
            json.dumps(_pack(value, f"settings[{name!r}]", {}))
        except TypeError as error:
            raise ValueError(
                f"settings[{name!r}] must be made of numbers, strings, tensors, None, dicts, lists "
                f"and tuples, to be kept in the checkpoint, got {value!r} ({error}): try str(...)"
            ) from error


def check_weights(path: Path, held: dict[str, Any], modules: dict[str, nn.Module]) -> None:
    """Raise `ValueError` unless every tensor of the checkpoint has its place in the modules."""
    shapes = {f"{m}.{k}": tuple(v.shape) for m, w in held.items() for k, v in w.items()}
    here = {
        f"{m}.{k}": tuple(v.shape) for m, w in modules.items() for k, v in w.state_dict().items()
    }
    if differ := [k for k in {**shapes, **here} if shapes.get(k) != here.get(k)]:
        first = differ[0]
        raise ValueError(
            f"{path} is a checkpoint of another model: {len(differ)} tensors differ, first "
            f"{first!r}, {shapes.get(first, 'absent')} there and {here.get(first, 'absent')} here. "
            "Build the same model, or give another path."
        )


def _numpy_state() -> tuple[Any, ...]:
    kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - steps may use it
    return (str(kind), torch.as_tensor(np.asarray(keys, dtype=np.int64)), *rest)


def _pack(node: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(node, Tensor):
        tensors[where] = node.detach().cpu().contiguous().clone()  # shared memory is refused
        return {"tensor": where}
    if isinstance(node, dict):
        items = [[_pack(k, where, tensors), v] for k, v in node.items()]
        return {"dict": [[k, _pack(v, f"{where}/{i}", tensors)] for i, (k, v) in enumerate(items)]}
    if isinstance(node, tuple | list):
        kind = "tuple" if isinstance(node, tuple) else "list"
        if node and all(type(v) is float for v in node):
            tensors[where] = torch.tensor(node, dtype=torch.float64)  # exact, and quick when long
            return {f"float {kind}": where}
        if node and all(type(v) is int for v in node):
            return {f"int {kind}": list(node)}
        return {kind: [_pack(v, f"{where}/{i}", tensors) for i, v in enumerate(node)]}
    if node is None or isinstance(node, bool | int | float | str):
        return node
    if isinstance(node, np.generic):
        return node.item()
    raise TypeError(f"a checkpoint cannot hold a {type(node).__name__} (at {where})")


def _unpack(node: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(node, dict):
        return node
    ((kind, inside),) = node.items()
    if kind == "tensor":
        return tensors[inside]
    if kind == "dict":
        return {_unpack(k, tensors): _unpack(v, tensors) for k, v in inside}
    if kind.startswith("float"):
        made = tensors[inside].tolist()
    elif kind.startswith("int"):
        made = inside
    else:
        made = [_unpack(v, tensors) for v in inside]
    return tuple(made) if kind.endswith("tuple") else made
