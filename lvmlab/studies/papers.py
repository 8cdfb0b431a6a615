"""The papers' own figures, one row a printed number: `papers.csv` beside this file.

Numbers, where they stand, units and settings in few words; no text of the papers. A row's `id` is
what a `Claim` names.
"""

import csv
import difflib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).with_name("papers.csv")

NAMES = {
    "collike": "Complete likelihood",
    "mim": "MIM thesis",
    "critics": "Inference critics",
    "gmwae": "Gaussian mixture WAE",
    "vade": "VaDE and iVAE",
}
"""What the course calls each paper."""


class Printed(NamedTuple):
    """One printed number."""

    id: str
    paper: str
    """A key of `NAMES`."""
    source: str
    """Where it stands, such as "Table 4.1"."""
    system: str
    objective: str
    dataset: str
    metric: str
    value: float
    std: float | None
    """The printed spread; None when there is none."""
    unit: str
    direction: str
    """"up" and "down" for what is better, else "none"."""
    ceiling: float | None
    """The most the number can be, where that is known (log K, log of a minibatch), in nats."""
    setting: str
    digit: float
    """One unit of the last printed digit: 0.01 for 3.45. Printed numbers are rounded or cut."""


@cache
def printed() -> tuple[Printed, ...]:
    """All rows, in the order of the file."""
    with open(FILE, newline="", encoding="utf-8") as file:
        return tuple(_row(fields) for fields in csv.DictReader(file))


def find(id: str) -> Printed:
    """The row with this id.

    Raises `ValueError` for an unknown one, with the nearest known.
    """
    rows = {row.id: row for row in printed()}
    if id in rows:
        return rows[id]
    near = difflib.get_close_matches(str(id), rows, 1, 0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"no printed number {id!r} in {FILE.name}.{hint}")


def apart(one: Printed, other: Printed) -> float:
    """The first number minus the second.

    Raises `ValueError` for numbers of different units or metrics, which nothing can rank.
    """
    if (one.unit, one.metric) != (other.unit, other.metric):
        raise ValueError(
            f"{one.id} is {one.metric} in {one.unit}, {other.id} is {other.metric} in "
            f"{other.unit}: convert one of them first, or compare numbers of one kind"
        )
    return one.value - other.value


def _row(fields: dict[str, str]) -> Printed:
    value: Any = fields.pop("value")
    std, ceiling = (float(fields.pop(key) or "nan") for key in ("std", "ceiling"))
    decimals = len(value.partition(".")[2])
    return Printed(
        value=float(value),
        std=None if std != std else std,
        ceiling=None if ceiling != ceiling else ceiling,
        digit=10.0**-decimals,
        **fields,
    )
