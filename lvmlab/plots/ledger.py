"""Ledger rows: paper and ours, hollow against filled, and in words why they differ.

To be noticed: where the filled marks lie, seed by seed; and what stands at the right.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from lvmlab.plots import style
from lvmlab.plots.frames import heading, names, number, place, three, ticks

STATES = {
    "holds": "#00602A",
    "one seed": "#A8842C",
    "not shown": "#F5920A",
    "fails": "#72080A",
    "not tried": style.AXIS,
}
"""The colour of what became of a claim; its word always stands beside it."""

_STEP = 0.52  # inches from one line to the next


class Line(NamedTuple):
    """One model on one metric: what the paper prints, what we measured, and both settings."""

    objective: str
    system: str
    paper: float | None
    paper_std: float | None
    paper_words: str
    """The paper's setting, such as "256 epochs"."""
    ours: Sequence[float]
    """Every seed; empty when it is not measured here."""
    our_words: str
    """What differs, such as "2 epochs": a line that hides its size is not drawn."""


@style.styled
def ledger_rows(
    lines: Sequence[Line],
    title: str,
    unit: str,
    floor: tuple[float, str] | None = None,
    ceiling: tuple[float, str] | None = None,
) -> style.Picture:
    """Draw lines of the ledger: the paper's number hollow above ours, filled, with every seed.

    `unit` names the axis. `floor` and `ceiling` are a value and its name (chance, log K), hatched
    on the forbidden side. Raises `ValueError` without lines, for a line with neither number, and
    for one of ours without words on its size.
    """
    drawn = [_checked(line) for line in lines]
    if not drawn:
        raise ValueError("lines: expected one or more, got none")
    picture = style.figure(9.0, 1.35 + _STEP * len(drawn))
    ax = place(picture, 1.75, 0.6, 3.9, _STEP * len(drawn))
    _scale(ax, drawn, floor, ceiling)
    names(ax, x=unit)
    heading(ax, title, "hollow: paper; filled: ours; small dots: each seed")
    for position, line in enumerate(drawn):
        _line(ax, line, len(drawn) - position - 0.5)
    told = "; ".join(_told(line) for line in drawn)
    picture.alt = f"{title}: {told}."
    return picture


@style.styled
def comparison(rows: Sequence[Mapping[str, Any]]) -> style.Picture:
    """Draw what `lvmlab.compare` found: a panel a metric, a line an objective, a dot a seed.

    `rows` are mappings with `objective`, `metric` and `each`, the number of every seed; a metric
    `..._ceiling` is hatched in the panel of its own. Raises `ValueError` without rows.
    """
    groups: dict[str, dict[str, Sequence[float]]] = {}
    for row in rows:
        groups.setdefault(row["metric"], {})[row["objective"]] = row["each"]
    panels = [m for m in groups if m in _TITLES]
    if not panels:
        raise ValueError(f"rows: expected metrics among {', '.join(_TITLES)}, got {list(groups)}")
    objectives = list(dict.fromkeys(row["objective"] for row in rows))
    picture = style.figure(9.0, 1.1 + 0.42 * len(objectives))
    width, said = 7.9 / len(panels), []
    for column, metric in enumerate(panels):
        ax = place(picture, 1.05 + column * width, 0.6, width - 0.3, 0.42 * len(objectives))
        caps = groups.get(f"{_STEMS.get(metric, metric)}_ceiling", {})
        cap = min((min(v) for v in caps.values()), default=None)
        _panel(ax, groups[metric], objectives, None if cap is None else (cap, "ceiling"))
        title, unit = _TITLES[metric]
        heading(ax, title)
        names(ax, x=unit)
        if column == 0:
            for position, name in enumerate(objectives):
                name_line(ax, name, len(objectives) - position - 0.5, "")
        means = (f"{n} {number(float(np.mean(v)), 2)}" for n, v in groups[metric].items())
        said.append(f"{title.lower()}: {', '.join(means)}")
    picture.alt = f"Every seed a dot. {'; '.join(said)}."
    return picture


_TITLES = {
    "nll_upper_bound": ("NLL, bound", "nats"),
    "information": ("Information", "nats"),
    "ksg_information": ("By KSG", "nats"),
    "knn5_accuracy": ("5-NN", "fraction right"),
    "seconds": ("Cost", "seconds a seed"),
}
_STEMS = {"ksg_information": "ksg"}


@style.styled
def claim_bars(claims: Sequence[Mapping[str, Any]]) -> style.Picture:
    """Draw a bar for every claim: in how many seeds it holds, and what became of it, in a word.

    `claims` are mappings with `says` (a short sentence), `holds` and `pairs` (seeds, over all
    systems that it covers; 0 for a printed number) and `state`, a key of `STATES`; those that fail
    come first. Raises `ValueError` without claims and for other states.
    """
    if not claims or {claim["state"] for claim in claims} - set(STATES):
        raise ValueError(f"claims: expected one or more with a state among {', '.join(STATES)}")
    order = ["fails", "not shown", "one seed", "holds", "not tried"]
    drawn = sorted(claims, key=lambda claim: order.index(claim["state"]))
    step = 0.23
    picture = style.figure(9.0, 0.95 + step * len(drawn))
    ax = place(picture, 0.15, 0.1, 8.7, step * len(drawn), "blank")
    ax.set_ylim(0, len(drawn))
    words = (
        "bar: the seeds in which it holds, all sizes together; fails: in no seed of its worst size"
    )
    heading(ax, "What became of each claim", words + "; a number agrees or not")
    for position, claim in enumerate(drawn):
        y, colour = len(drawn) - position - 0.5, STATES[claim["state"]]
        agrees = claim["state"] in ("holds", "one seed")  # a printed number has no share of seeds
        share = claim["holds"] / claim["pairs"] if claim["pairs"] else float(agrees)
        ax.text(0, y, claim["says"], va="center", fontsize=10)
        ax.add_patch(Rectangle((0.635, y - 0.28), 0.165, 0.56, color=style.TRACK, lw=0))
        ax.add_patch(Rectangle((0.635, y - 0.28), 0.165 * share, 0.56, color=colour, lw=0))
        word = claim["state"] + (
            f", {claim['holds']} of {claim['pairs']}" if claim["pairs"] else ""
        )
        tried = claim["state"] != "not tried"
        bold: dict[str, Any] = {"fontweight": "bold"} if tried else {"color": style.NOTE}
        ax.text(0.815, y, word, va="center", fontsize=10, **bold)
    counts = {state: sum(c["state"] == state for c in drawn) for state in order}
    picture.alt = f"{len(drawn)} claims: " + ", ".join(f"{n} {s}" for s, n in counts.items()) + "."
    return picture


def _checked(line: Line) -> Line:
    if line.paper is None and not len(line.ours):
        raise ValueError(f"lines: {line.objective} ({line.system}) has neither paper nor ours")
    if len(line.ours) and not line.our_words.strip():
        raise ValueError(
            f"lines: {line.objective} ({line.system}) does not say at which size it was measured: "
            "our_words must tell what differs from the paper, or that nothing does"
        )
    values = [*line.ours, *([] if line.paper is None else [line.paper])]
    if not np.isfinite(values).all():
        raise ValueError(
            f"lines: {line.objective} ({line.system}) holds numbers that are not finite"
        )
    return line


def _scale(
    ax: Axes,
    lines: Sequence[Line],
    floor: tuple[float, str] | None,
    ceiling: tuple[float, str] | None,
) -> None:
    spread = [v for line in lines for v in line.ours]
    for line in lines:
        if line.paper is not None:
            spread += [line.paper - (line.paper_std or 0), line.paper + (line.paper_std or 0)]
    limits(ax, spread, len(lines), floor, ceiling)


def limits(
    ax: Axes,
    values: Sequence[float],
    rows: int,
    floor: tuple[float, str] | None,
    ceiling: tuple[float, str] | None,
) -> None:
    """Limits around all values and bounds, three ticks, and hatched bands beyond the bounds."""
    bounds = [bound[0] for bound in (floor, ceiling) if bound]
    low, high = min([*values, *bounds]), max([*values, *bounds])
    pad = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    ax.set(xlim=(low - pad, high + pad), ylim=(0, rows))
    ticks(ax, x=three(low - pad, high + pad), y=[])
    ax.spines["left"].set_visible(False)
    for bound, start, end in ((floor, low - pad, None), (ceiling, None, high + pad)):
        if bound is None:
            continue
        left = bound[0] if start is None else start
        right = bound[0] if end is None else end
        ax.add_patch(
            Rectangle(
                (left, 0), right - left, rows, facecolor=style.HATCH_GROUND, edgecolor=style.AXIS,
                hatch="/////", linewidth=0, zorder=0.5,
            )
        )  # fmt: skip
        ax.axvline(bound[0], color=style.NOTE, lw=1.2, zorder=0.6)
        at_left = start is not None
        ax.annotate(
            bound[1], (bound[0], rows), xytext=(3 if at_left else -3, -3),
            textcoords="offset points", ha="left" if at_left else "right", va="top", fontsize=10,
            color=style.NOTE,
        )  # fmt: skip


def _line(ax: Axes, line: Line, y: float) -> None:
    colour = style.look(line.objective).colour
    name_line(ax, line.objective, y, line.system)
    above, below = y + 0.17, y - 0.17
    right = ax.get_xlim()[1]
    words: dict[str, Any] = {
        "textcoords": "offset points", "xytext": (14, 0), "va": "center", "fontsize": 10,
        "annotation_clip": False,
    }  # fmt: skip
    if line.paper is not None:
        if line.paper_std:
            ends = [line.paper - line.paper_std, line.paper + line.paper_std]
            ax.plot(ends, [above, above], color=colour, lw=1.8, zorder=2)
        ax.plot(
            line.paper, above, "o", ms=9, mfc="white", mec=colour, mew=2.2, zorder=3, clip_on=False
        )
        told = number(line.paper) + (f" ± {number(line.paper_std)}" if line.paper_std else "")
        note = f"{told}, {line.paper_words}" if line.paper_words else told
        ax.annotate(note, (right, above), color=style.NOTE, **words)
    if not len(line.ours):
        ax.annotate("not measured here", (right, below), color=style.NOTE, style="italic", **words)
        return
    marks(ax, line.ours, below, colour)
    count = f"{len(line.ours)} seed{'s' if len(line.ours) > 1 else ''}"
    mean = number(float(f"{np.mean(line.ours):.4g}"))
    ax.annotate(f"{mean}, {count}, {line.our_words}", (right, below), color=style.INK, **words)


def marks(ax: Axes, values: Sequence[float], y: float, colour: str) -> None:
    """Draw every seed as a small dot and their mean as a large one, at one height."""
    if len(values) > 1:
        ax.plot(values, [y] * len(values), "o", ms=5, mew=0, alpha=0.55, color=colour, zorder=2.5)
    ax.plot(float(np.mean(values)), y, "o", ms=8, mew=0, color=colour, zorder=3, clip_on=False)


def _panel(
    ax: Axes,
    values: Mapping[str, Sequence[float]],
    objectives: Sequence[str],
    ceiling: tuple[float, str] | None,
) -> None:
    spread = [v for each in values.values() for v in each]
    if ceiling and ceiling[0] > 4 * max(spread):  # a ceiling far away would squeeze the dots
        ceiling = None
    limits(ax, spread, len(objectives), None, ceiling)
    for position, name in enumerate(objectives):
        if name in values:
            y = len(objectives) - position - 0.5
            marks(ax, values[name], y, style.look(name).colour)


def name_line(ax: Axes, objective: str, y: float, system: str) -> None:
    """Write an objective in its colour, and its system below it, left of the axes."""
    left = ax.get_xlim()[0]
    for text, shift, look in (
        (objective, 6 if system else 0, {"fontweight": "bold", "fontsize": 11}),
        (system, -8, {"fontsize": 9.5, "color": style.NOTE}),
    ):
        colour: dict[str, Any] = {"color": style.look(objective).colour} | look
        ax.annotate(
            text, (left, y), xytext=(-118 if system else -10, shift), textcoords="offset points",
            ha="left" if system else "right", va="center", annotation_clip=False, **colour,
        )  # fmt: skip


def _told(line: Line) -> str:
    paper = "" if line.paper is None else f"paper {number(line.paper)}"
    ours = f"ours {number(float(np.mean(line.ours)), 2)}" if len(line.ours) else "not measured"
    return f"{line.objective} ({line.system}) " + ", ".join(filter(None, [paper, ours]))
