"""The ledger as a panel: one metric of one study, every seed, and what became of its claims.

To be noticed: with more seeds asked for, fewer lines are left; and what the words at the right say.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as W
import numpy as np

from lvmlab.plots import style
from lvmlab.plots.frames import heading, names, number, place
from lvmlab.plots.ledger import limits, marks, name_line
from lvmlab.widgets.panel import Panel

LINES = 15  # the most that one panel holds
_BAD = ("fails", "not shown")


def ledger_panel(rows: Sequence[Mapping[str, Any]], start: str | None = None) -> Panel:
    """Make the panel over rows of the ledger: study and metric, failing ones, seeds at least.

    `rows` are what `lvmlab ledger --json` prints under "rows" (`Compared.as_dict()`): the fields of
    a row, and `paper`, what its paper says and in how many seeds that holds. `start` is a study's
    name. Metrics of the data and ceilings have no entry of their own; a ceiling is hatched. Raises
    `ValueError` without rows, for rows that lack a field, and for an unknown start.
    """
    tables = _tables(rows)
    shown = W.Dropdown(
        options=list(tables), description="shown", layout=W.Layout(width="380px"),
        style={"description_width": "auto"},
    )  # fmt: skip
    if start is not None:
        found = [name for name in tables if name.startswith(f"{start}, ")]
        if not found:
            raise ValueError(f"start: expected a study among {_studies(tables)}, got {start!r}")
        shown.value = found[0]
    with style.style():
        page = LedgerPicture(tables)
    most = max(row["seeds"] for lines in tables.values() for row in lines)
    seeds = W.IntSlider(
        1, min=1, max=max(most, 2), description="seeds at least", layout=W.Layout(width="260px"),
        style={"description_width": "auto"},
    )  # fmt: skip
    failing = W.Checkbox(False, description="only what fails", indent=False)
    return Panel(page.picture, page.show, shown=shown, seeds=seeds, failing=failing)


class LedgerPicture:
    """The picture of the panel; `show` draws one table of it anew."""

    def __init__(self, tables: dict[str, list[Mapping[str, Any]]]) -> None:
        self.tables = tables
        tallest = min(LINES, max(len(lines) for lines in tables.values()))
        self.height = 0.36 * tallest
        self.picture = style.figure(9.0, self.height + 1.75)
        self.ax = place(self.picture, 2.0, 1.0, 3.3, self.height)
        self.words = self.picture.text(
            0.15 / 9, 0.1 / (self.height + 1.75), "", fontsize=10, color=style.NOTE
        )

    def show(self, shown: str, seeds: int, failing: bool) -> str:
        """Show the lines of one table that have so many seeds; return what is to be noticed."""
        whole = [row for row in self.tables[shown] if not row["metric"].endswith("ceiling")]
        kept = [row for row in whole if row["seeds"] >= seeds and (not failing or _failing(row))]
        kept, rows = kept[:LINES], min(len(whole), LINES)
        self.ax.clear()
        self.ax.spines["left"].set_visible(False)
        metric = whole[0]["metric"].replace("_", " ")
        left_out = f"; {len(whole) - len(kept)} of {len(whole)} left out" if whole != kept else ""
        heading(self.ax, shown, f"small dots: each seed; large: their mean{left_out}")
        values = [v for one in whole for v in one["each"]]  # limits stay while lines are left out
        self._lines(kept, values, rows, metric, self._ceiling(shown))
        if not kept:
            none = "no line is judged failing" if failing else f"no line has {seeds} seeds"
            self.ax.text(0.02, 0.9, none, transform=self.ax.transAxes, color=style.NOTE, va="top")
        row = (kept or whole)[0]
        spent = sum(one["minutes"] for one in whole)
        self.words.set_text(
            f"{row['command']}\n{spent:.3g} minutes of training behind this table, on "
            f"{row['hardware']}"
        )
        verdicts = [v["state"] for one in kept for v in one["paper"]]
        told = ", ".join(f"{verdicts.count(s)} {s}" for s in dict.fromkeys(verdicts))
        return f"{shown}: {len(kept)} of {len(whole)} lines with {seeds} seeds or more; {told}."

    def _lines(self, kept: list, values: list, rows: int, metric: str, cap: float | None) -> None:
        near = cap is not None and cap < 4 * max(values)  # one far away would squeeze the dots
        limits(self.ax, values, rows, None, (cap, "ceiling") if near and cap is not None else None)
        names(self.ax, x=metric)
        for position, row in enumerate(kept):
            y = rows - position - 0.5
            name_line(self.ax, row["objective"], y, row["system"])
            marks(self.ax, row["each"], y, style.look(row["objective"]).colour)
            self._said(row, y)

    def _said(self, row: Mapping[str, Any], y: float) -> None:
        """Write a line's number and what became of the paper's words about it."""
        std = row["std"]
        spread = "" if std is None else f" ± {number(float(f'{std:.2g}'))}"
        mean = number(float(f"{row['value']:.4g}"))
        count = f"{row['seeds']} seed{'s' if row['seeds'] > 1 else ''}"
        right = self.ax.get_xlim()[1]
        told = "; ".join(f"{v['says']}: {_fared(v)}" for v in row["paper"])
        for text, shift, colour in (
            (f"{mean}{spread}, {count}", 6 if told else 0, style.INK),
            (told, -7, style.NOTE),
        ):
            self.ax.annotate(
                text, (right, y), xytext=(12, shift), textcoords="offset points", va="center",
                fontsize=9.5, color=colour, annotation_clip=False,
            )  # fmt: skip

    def _ceiling(self, shown: str) -> float | None:
        caps = [v for r in self.tables[shown] if r["metric"].endswith("ceiling") for v in r["each"]]
        return min(caps) if caps else None


def _fared(verdict: Mapping[str, Any]) -> str:
    """What became of a claim, in one or two words and counts."""
    if verdict.get("apart") is not None:
        return f"ours {verdict['apart']:+.2g}"
    return f"{verdict['holds']} of {verdict['pairs']}"


def _failing(row: Mapping[str, Any]) -> bool:
    return any(verdict["state"] in _BAD for verdict in row["paper"])


def _tables(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Rows by "study, preset: metric", each with the ceilings of that metric."""
    needed = {"study", "preset", "metric", "each", "paper", "command", "hardware", "minutes"}
    tables: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if missing := sorted(needed - set(row)):
            raise ValueError(
                f"rows: a row lacks {', '.join(missing)}; try those of lvmlab ledger --json"
            )
        if not np.isfinite(row["each"]).all():
            raise ValueError(f"rows: {row['study']}, {row['metric']} holds numbers not finite")
        if not row["metric"].endswith("ceiling"):
            tables.setdefault(_title(row, row["metric"]), []).append(row)
    for row in rows:
        if row["metric"].endswith("ceiling"):
            stem = row["metric"].removesuffix("_ceiling")
            for name in (stem, f"{stem}_information"):
                if (title := _title(row, name)) in tables:
                    tables[title].append(row)
    if not tables:
        raise ValueError("rows: expected one or more, got none; run a study: lvmlab run STUDY")
    return tables


def _title(row: Mapping[str, Any], metric: str) -> str:
    return f"{row['study']}, {row['preset']}: {metric.replace('_', ' ')}"


def _studies(tables: Mapping[str, Any]) -> str:
    return ", ".join(dict.fromkeys(name.split(", ")[0] for name in tables))
