"""Studies: the tables and figures of the papers as functions, one file a paper.

A study is a plain function `study(preset, seeds)` that returns rows (`ledger.Row`). To add one:
write the function and its line in the `SIZES` of its file; name the file below when it is new.
"""

import difflib
import inspect
from collections.abc import Callable
from typing import Any

from lvmlab.presets import preset_name
from lvmlab.studies import (
    assignment,
    critics,
    ensemble,
    hierarchies,
    identifiability,
    images,
    knowledge,
    mim,
    mim_1d,
    mixtures,
    relatives,
    sentences,
    text,
)
from lvmlab.studies.ledger import Row as Row
from lvmlab.studies.sweeps import Sweep as Sweep
from lvmlab.studies.sweeps import sweep as sweep

FILES: tuple[Any, ...] = (
    mim,
    mim_1d,
    assignment,
    relatives,
    ensemble,
    images,
    text,
    identifiability,
    mixtures,
    hierarchies,
    critics,
    knowledge,
    sentences,
)


def names() -> list[str]:
    """The names of all studies, such as "collapse-2d", paper by paper."""
    return [name for file in FILES for name in file.SIZES]


def find(name: str) -> Callable[..., list[Row]]:
    """The function of a study.

    Raises `ValueError` for an unknown name, with the nearest known one.
    """
    for file in FILES:
        if name in file.SIZES:
            return getattr(file, name.replace("-", "_"))
    near = difflib.get_close_matches(str(name).lower().replace("_", "-"), names(), 1, 0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"no study {name!r}, expected one of {', '.join(names())}.{hint}")


def sizes(name: str) -> dict[str, dict[str, Any]]:
    """The settings of a study at the three presets, with `seeds` and the expected `minutes`."""
    find(name)
    return next(file.SIZES[name] for file in FILES if name in file.SIZES)


def about(name: str) -> str:
    """The sentence that says what a study measures, with its figures or tables."""
    return (inspect.getdoc(find(name)) or "").split("\n\n")[0].replace("\n", " ")


def run(name: str, preset: str | None = None, seeds: int | None = None) -> list[Row]:
    """Run one study over the seeds 0 ... seeds - 1 and return its rows.

    preset: "smoke", "lesson" or "paper"; $LVMLAB_PRESET, or "lesson", when None. seeds: the number
    in the study's table when None. Every cell is written to `runs/` (or $LVMLAB_RUNS) when it is
    done; a run that was killed goes on there. Raises `ValueError` for unknown names and presets
    and for fewer than one seed.
    """
    return find(name)(preset_name() if preset is None else preset, seeds)


def claims(name: str) -> tuple[Any, ...]:
    """What the paper prints or says about the numbers of a study (`compare.Claim`)."""
    find(name)
    return next(file.CLAIMS[name] for file in FILES if name in file.SIZES)
