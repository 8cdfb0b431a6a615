"""The ledger: what was measured, seed by seed, in files that a killed run leaves whole.

`measure` runs the cells of a study and writes one file a cell under `runs/STUDY/PRESET/VERSION/`
(or `$LVMLAB_RUNS`), one line of JSON a seed. What is already there for this version of the code is
not measured again, so a run that was killed goes on with the next cell.
"""

import hashlib
import json
import math
import os
import re
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple, TypedDict

from lvmlab.presets import NAMES
from lvmlab.studies import provenance
from lvmlab.studies.provenance import Provenance

SHOWN_ONLY = {"plots", "widgets", "exercises", "cli.py"}  # these cannot change what is measured

_COLUMNS: tuple[Literal["system", "objective", "metric"], ...] = ("system", "objective", "metric")


class Row(TypedDict):
    """One number of a study: the mean over seeds, with its spread, its cost and its origin."""

    study: str
    system: str
    """The model and its size, such as "20 hidden units"."""
    objective: str
    dataset: str
    metric: str
    """Its name tells sign and unit: nats unless it says otherwise."""
    value: float
    std: float | None
    """Standard deviation over seeds; None for a single seed."""
    seeds: int
    preset: str
    minutes: float
    """Training and measuring all seeds of this system and objective, not of this metric alone."""
    each: list[float]
    """The number of every seed, from seed 0 on."""
    command: str
    """What measures it again, as in `provenance.Provenance`, like the next three."""
    hardware: str
    versions: str
    commit: str


class Cell(NamedTuple):
    """One system under one objective on one data set, and how to measure it."""

    system: str
    objective: str
    dataset: str
    measure: Callable[[list[int]], list[dict[str, float]]]
    """Seeds to one dict of numbers each: the seeds may be trained together."""


class Plan(NamedTuple):
    """What a study would measure."""

    study: str
    preset: str
    seeds: int
    cells: Sequence[Cell]


class _Planned(Exception):  # noqa: N818 - ends the study before it measures; nothing is wrong
    pass


_planning: ContextVar[bool] = ContextVar("planning", default=False)


class Record(Provenance):
    """What one seed of one cell gave, and how to get it again: a line of a file."""

    study: str
    system: str
    objective: str
    dataset: str
    preset: str
    seed: int
    minutes: float
    values: dict[str, float]


def sizes(table: dict[str, dict[str, Any]], preset: str) -> SimpleNamespace:
    """The settings of one preset of a study's table, as attributes.

    Raises `ValueError` for an unknown preset.
    """
    if preset not in NAMES:
        raise ValueError(f"preset must be one of {', '.join(NAMES)}, got {preset!r}")
    return SimpleNamespace(**table[preset])


def measure(study: str, preset: str, seeds: int, cells: Sequence[Cell]) -> list[Row]:
    """Rows of all cells over the seeds 0 ... seeds - 1; only what is missing is measured.

    Raises `ValueError` for fewer than one seed and for a number that is not finite, which is never
    written.
    """
    from tqdm.auto import tqdm

    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise ValueError(f"seeds must be a whole number from 1 up, got {seeds!r}")
    plan, rows = Plan(study, preset, seeds, cells), []
    if _planning.get():
        raise _Planned(plan)
    with tqdm(cells, desc=study, unit="cell", delay=2) as bar:
        for cell in bar:
            bar.set_postfix_str(f"{cell.objective}, {cell.system}", refresh=False)
            rows += summarise(fill(place(plan), plan, cell))
    return rows


def planned(study: Callable[..., Any], preset: str, seeds: int | None) -> Plan:
    """What a study would measure, with nothing measured.

    Raises `ValueError` for a study that does not go through `measure`.
    """
    token = _planning.set(True)
    try:
        study(preset, seeds)
    except _Planned as found:
        return found.args[0]
    finally:
        _planning.reset(token)
    raise ValueError(f"{study!r} cannot be planned: it must end in lvmlab.studies.ledger.measure")


def place(plan: Plan) -> Path:
    """The folder of a plan's files, for this version of the code."""
    return folder() / plan.study / plan.preset / code_version()


def summarise(records: Iterable[Record]) -> list[Row]:
    """Mean and spread over seeds of every metric, in the order in which they were measured."""
    groups: dict[tuple, list[Record]] = {}
    for r in records:
        key = (r["study"], r["preset"], r["dataset"], r["system"], r["objective"])
        groups.setdefault(key, []).append(r)
    rows: list[Row] = []
    for (study, preset, dataset, system, objective), group in groups.items():
        minutes = sum(r["minutes"] for r in group)
        group.sort(key=lambda r: r["seed"])
        for metric in group[0]["values"]:
            values = [r["values"][metric] for r in group]
            rows.append(
                Row(
                    study=study,
                    system=system,
                    objective=objective,
                    dataset=dataset,
                    metric=metric,
                    value=statistics.fmean(values),
                    std=statistics.stdev(values) if len(values) > 1 else None,
                    seeds=len(values),
                    preset=preset,
                    minutes=round(minutes, 4),
                    each=values,
                    command=re.sub(r"\d+$", str(len(values)), group[0]["command"]),
                    hardware=_all("hardware", group),
                    versions=_all("versions", group),
                    commit=_all("commit", group),
                )
            )
    return rows


def table(rows: Sequence[Row], papers: Sequence[str] | None = None) -> list[str]:
    """Lines of text: a heading for each study, preset and data set, then its rows in columns.

    papers: what stands in a last column, one text a row.
    """
    lines: list[str] = []
    widths = [max((len(row[key]) for row in rows), default=0) for key in _COLUMNS]
    heading, before = "", ("", "")
    for row, note in zip(rows, papers or [""] * len(rows), strict=True):
        new, cell = f"{row['study']}, {row['preset']}, {row['dataset']}", _cell(row)
        if new != heading:
            lines += ["", new] if lines else [new]
        names = [*(("", "") if (new, cell) == (heading, before) else cell), row["metric"]]
        heading, before = new, cell
        text = "  ".join(f"{name:<{width}}" for name, width in zip(names, widths, strict=True))
        spread = "" if row["std"] is None else f"± {row['std']:.3g}"
        seeds = f"{row['seeds']} seed{'s' if row['seeds'] > 1 else ''}"
        lines.append(f"  {text}  {row['value']:>9.4g} {spread:<10} {seeds:<9}{note}".rstrip())
    return lines


def recorded() -> list[Record]:
    """Every seed on record, each study and preset from the version of the code measured last.

    A file that is not of this kind is skipped, as is a line that a foreign hand cut short.
    """
    found: list[Record] = []
    for preset in sorted(p for p in folder().glob("*/*/") if p.name in NAMES):
        files = sorted(preset.glob("*/*.jsonl"), key=lambda f: f.stat().st_mtime)
        found += [r for f in files if f.parent == files[-1].parent for r in read(f)]
    return found


def folder() -> Path:
    """Where records are kept: $LVMLAB_RUNS, or `runs` in the working directory."""
    return Path(os.environ.get("LVMLAB_RUNS") or "runs")


@cache
def code_version() -> str:
    """Twelve hexadecimal digits that change with the code that measures, and with torch."""
    import torch

    package = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256(torch.__version__.encode())
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package)
        if inside.parts[0] not in SHOWN_ONLY:
            digest.update(inside.as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def read(path: Path) -> list[Record]:
    """The records of one file, by seed; lines that are not whole records are left out."""
    records: list[Record] = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and Record.__required_keys__ <= record.keys():
            records.append(record)  # type: ignore[arg-type]
    return sorted(records, key=lambda r: r["seed"])


def write(path: Path, records: Iterable[Record]) -> None:
    """Replace one file by these records: it is whole at any moment.

    Raises `ValueError` for a record without the command that gives it again, and writes nothing.
    """
    records = list(records)
    if any(not r.get("command", "").strip() for r in records):
        raise ValueError(f"{path.name}: a record needs the command that measures it again")
    replace(path, "".join(json.dumps(r, allow_nan=False) + "\n" for r in records))


def replace(path: Path, text: str) -> None:
    """Write a file at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        with open(unfinished, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def fill(place: Path, plan: Plan, cell: Cell, origin: Provenance | None = None) -> list[Record]:
    """The records of all seeds of one cell, from its file or measured now and written there.

    origin: where its numbers come from; `lvmlab run` of the study when None.
    """
    study, preset, seeds = plan.study, plan.preset, plan.seeds
    path = file_of(place, cell)
    known = {record["seed"]: record for record in read(path)}
    if missing := [seed for seed in range(seeds) if seed not in known]:
        started = time.perf_counter()
        measured = cell.measure(missing)
        minutes = (time.perf_counter() - started) / 60 / len(missing)
        for seed, values in zip(missing, measured, strict=True):
            _check(values, study, cell, seed)
            known[seed] = Record(
                **(origin or provenance.here(study, preset, seeds)),
                study=study,
                system=cell.system,
                objective=cell.objective,
                dataset=cell.dataset,
                preset=preset,
                seed=seed,
                minutes=minutes,
                values=values,
            )
        write(path, (known[seed] for seed in sorted(known)))
    return [known[seed] for seed in range(seeds)]


def file_of(place: Path, cell: Cell) -> Path:
    """The file of one cell."""
    return place / f"{_slug(f'{cell.dataset} {cell.system} {cell.objective}')}.jsonl"


def _check(values: dict[str, float], study: str, cell: Cell, seed: int) -> None:
    for metric, value in values.items():
        if not math.isfinite(value):
            raise ValueError(
                f"{study}, {cell.objective} with {cell.system}, seed {seed}: {metric} is {value}, "
                "expected a finite number; nothing of this cell was written"
            )


def _all(name: Literal["hardware", "versions", "commit"], group: Sequence[Record]) -> str:
    """What the seeds of a row have in common, or all they have."""
    return "; ".join(dict.fromkeys(r[name] for r in group))


def _cell(row: Row) -> tuple[str, str]:
    return row["system"], row["objective"]


def _slug(text: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in text.lower()).split())
