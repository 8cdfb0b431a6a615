"""`lvmlab report FILE`: the collapse report on a model that a Python file defines.

    # model.py
    p, q = dense_gaussian(2, 2)
    data = files.array("held_out.npy")

`lvmlab report model.py --checkpoint run/vae.safetensors --picture vae.png`. The file may also
define `labels`, `prior` and `title`; it is run as a script of its own folder, so only report on
files that you would run.
"""

import argparse
import contextlib
import io
import json
import os
import runpy
import sys
import traceback
from pathlib import Path
from typing import Any

NEEDED = ("p", "q", "data")


def command(given: argparse.Namespace) -> int:
    """Report as the command line asks: a table or JSON on the screen, a picture in a file."""
    import torch

    from lvmlab.diagnostics import arrays

    torch.set_num_threads(1)
    if given.picture and not Path(given.picture).expanduser().absolute().parent.is_dir():
        raise ValueError(f"--picture must lie in a folder that exists; came {given.picture}")
    if given.rows is not None:
        arrays.whole_number("--rows", given.rows, 1)
    found = from_file(given.file, given.checkpoint, given.rows, given.samples)
    if given.picture:
        from lvmlab.plots import png

        write(given.picture, png(found.picture(), dpi=150))
    print(found.json() if given.json else found.table())
    return 0


def from_file(
    path: str | Path, checkpoint: str | Path | None = None, rows: int | None = None,
    samples: int = 100,
) -> Any:  # fmt: skip
    """Run a Python file that defines p, q and data, load its weights, and return the `Report`.

    Raises `ValueError` for a file that is not there, cannot be run or lacks a name, and for a
    checkpoint that is damaged or of another model.
    """
    from lvmlab.diagnostics.report import report

    names = _run(Path(path).expanduser())
    if checkpoint is not None:
        _load(Path(checkpoint).expanduser(), names["p"], names["q"])
    data, labels = names["data"], names.get("labels")
    if rows is not None:
        data, labels = _first(data, rows), None if labels is None else labels[:rows]
    title = str(names.get("title", Path(path).stem))
    prior = names.get("prior")
    return report(names["p"], names["q"], data, labels, prior, samples=samples, title=title)


def write(path: str | Path, content: bytes) -> None:
    """Write a file whole or not at all: beside its place first, then renamed over it."""
    path = Path(path).expanduser()
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    except OSError as error:
        raise ValueError(f"{path} cannot be written ({error}): give another path") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _run(path: Path) -> dict[str, Any]:
    if not path.is_file():
        what = "a folder" if path.is_dir() else "not there"
        raise ValueError(f"FILE must be a Python file that defines p, q and data; {path} is {what}")
    if path.suffix != ".py":
        hint = f"try --checkpoint {path} beside it" if path.suffix == ".safetensors" else "name it"
        raise ValueError(
            f"FILE must be Python ending in .py that defines p, q and data; came {path}: {hint}"
        )
    sys.path.insert(0, str(path.parent.absolute()))
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # what the file prints is not the report
            names = runpy.run_path(str(path), run_name="__report__")
    except (Exception, SystemExit) as error:
        line = _line_of(error, path)
        raise ValueError(f"{path} cannot be run{line}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    if missing := [name for name in NEEDED if name not in names]:
        raise ValueError(
            f"{path} must define p, q and data, but does not define {', '.join(missing)}. For a "
            "model that returns means and log-variances: p, q = lvmlab.adapters.from_moments(...)"
        )
    return names


def _line_of(error: BaseException, path: Path) -> str:
    if isinstance(error, SyntaxError) and error.lineno:
        return f", line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""


def _load(path: Path, p: Any, q: Any) -> None:
    """Put the weights that `fit` or `save` wrote into p and q."""
    from torch import nn

    from lvmlab import checkpoint

    try:
        held = checkpoint.read(path)["modules"]
    except (FileNotFoundError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"--checkpoint {path} cannot be read: {error}") from error
    modules = {name: m for name, m in (("p", p), ("q", q)) if isinstance(m, nn.Module)}
    if lacking := modules.keys() - held.keys():
        raise ValueError(
            f"--checkpoint {path} holds the modules {sorted(held)}, but not {sorted(lacking)}"
        )
    checkpoint.check_weights(path, {name: held[name] for name in modules}, modules)
    for name, module in modules.items():
        module.load_state_dict(held[name])


def _first(data: Any, rows: int) -> Any:
    values = data if isinstance(data, dict) else getattr(data, "values", None)
    if isinstance(values, dict):
        return {name: value[:rows] for name, value in values.items()}
    return data[:rows]
