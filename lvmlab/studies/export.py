"""Rows as files: CSV, JSON, a table for a paper; and the rows that come with the package."""

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from lvmlab.studies.ledger import Record, Row, replace
from lvmlab.studies.provenance import check_command

SHIPPED = Path(__file__).with_name("ours.csv")
FORMATS = (".csv", ".json", ".md", ".tex")
_NUMBERS = {"value": float, "seeds": int, "minutes": float}


def write_rows(path: str | Path, rows: Sequence[Row]) -> None:
    """Write rows as .csv or .json, or as a table of means and spreads in .md or .tex.

    The file is whole at any moment. Raises `ValueError` for another ending, for no rows, and for a
    row without a command that reproduces it.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ValueError(f"path must end in one of {', '.join(FORMATS)}, got {path.name!r}")
    if not rows:
        raise ValueError("there are no rows to write: run a study first (lvmlab run STUDY)")
    for row in rows:
        check(row)
    tables = {".csv": _csv, ".json": _json, ".md": _markdown, ".tex": _latex}
    replace(path, tables[path.suffix](rows))


def read_rows(path: str | Path) -> list[Row]:
    """Rows of a .csv that `write_rows` made.

    Raises `ValueError` naming the line for missing columns, numbers that are none, a mean that is
    not the mean of its seeds, and a row without a command.
    """
    with open(path, newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    rows = []
    for number, fields in enumerate(lines, 2):
        try:
            rows.append(check(_parsed(fields)))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{Path(path).name}, line {number}: {error}") from error
    return rows


def check(row: Row) -> Row:
    """The same row, when it may enter the ledger.

    Raises `ValueError` unless it has every field, finite numbers, one value for each seed whose
    mean and spread it states, and a command that measures its study at its preset and seeds.
    """
    if missing := Row.__required_keys__ - row.keys():
        raise ValueError(f"a row needs {', '.join(sorted(missing))}: try lvmlab run STUDY --json")
    study, preset, seeds = check_command(row["command"])
    told = (row["study"], row["preset"], row["seeds"])
    if (study, preset, seeds) != told:
        raise ValueError(f"the command {row['command']!r} does not measure {told}")
    each = row["each"]
    if len(each) != seeds or not all(math.isfinite(v) for v in each):
        raise ValueError(f"each must hold {seeds} finite numbers, one a seed, got {each}")
    mean = math.fsum(each) / seeds
    if not math.isclose(mean, row["value"], rel_tol=1e-6, abs_tol=1e-9):
        raise ValueError(f"value {row['value']:g} is not the mean {mean:g} of its seeds")
    return row


def records(rows: Iterable[Row]) -> list[Record]:
    """The rows as one record a seed, as `ledger.recorded` gives them."""
    found: dict[tuple, Record] = {}
    for row in rows:
        for seed, value in enumerate(row["each"]):
            key = (*(row[k] for k in ("study", "preset", "dataset", "system", "objective")), seed)
            if key not in found:
                found[key] = Record(
                    study=row["study"],
                    system=row["system"],
                    objective=row["objective"],
                    dataset=row["dataset"],
                    preset=row["preset"],
                    seed=seed,
                    minutes=row["minutes"] / row["seeds"],
                    values={},
                    command=row["command"],
                    hardware=row["hardware"],
                    versions=row["versions"],
                    commit=row["commit"],
                )
            found[key]["values"][row["metric"]] = value
    return list(found.values())


@cache
def shipped() -> tuple[Row, ...]:
    """The rows that come with the package: measured by us, at the sizes and commands they state."""
    return tuple(read_rows(SHIPPED)) if SHIPPED.is_file() else ()


def _parsed(fields: dict[str, str]) -> Row:
    row: dict[str, Any] = dict(fields)
    row |= {name: kind(fields[name]) for name, kind in _NUMBERS.items()}
    row["std"] = float(fields["std"]) if fields["std"] else None
    row["each"] = [float(v) for v in fields["each"].split()]
    return row  # type: ignore[return-value]


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [*Row.__annotations__], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        std = "" if row["std"] is None else f"{row['std']:.6g}"
        numbers = {"value": f"{row['value']:.9g}", "std": std, "minutes": f"{row['minutes']:.4g}"}
        each = " ".join(f"{v:.9g}" for v in row["each"])
        writer.writerow({**row, **numbers, "each": each})
    return text.getvalue()


def _json(rows: Sequence[Row]) -> str:
    return json.dumps(list(rows), indent=2, allow_nan=False) + "\n"


def _lines(rows: Sequence[Row], spread: str) -> list[list[str]]:
    return [
        [
            *(row["dataset"], row["system"], row["objective"], row["metric"].replace("_", " ")),
            f"{row['value']:.4g}" + ("" if row["std"] is None else f" {spread} {row['std']:.2g}"),
            str(row["seeds"]),
            row["preset"],
        ]
        for row in rows
    ]


_TITLES = ["data", "system", "objective", "metric", "mean and spread", "seeds", "preset"]


def _markdown(rows: Sequence[Row]) -> str:
    lines = [_TITLES, ["---"] * len(_TITLES), *_lines(rows, "±")]
    commands = "\n".join(f"    {c}" for c in dict.fromkeys(row["command"] for row in rows))
    return (
        "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\nMeasured by\n\n{commands}\n"
    )


def _latex(rows: Sequence[Row]) -> str:
    lines = [" & ".join(line) + r" \\" for line in [_TITLES, *_lines(rows, r"$\pm$")]]
    body = "\n".join([lines[0], r"\hline", *lines[1:]]).replace("_", r"\_").replace("%", r"\%")
    commands = "\n".join(f"% {c}" for c in dict.fromkeys(row["command"] for row in rows))
    return f"{commands}\n\\begin{{tabular}}{{llllrrl}}\n{body}\n\\end{{tabular}}\n"
