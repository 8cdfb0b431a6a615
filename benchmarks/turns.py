"""Rivals measured in turn within one process, and ratios between them.

A second on a busy machine says little. Here every turn runs each rival once, a ratio is taken
within the turn, and what is told is the median of these ratios with their middle half; time is that
of the processor, so waiting for others does not count.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

TURNS = 15


class Ratio(NamedTuple):
    """How many times the cost of `beside` something costs."""

    what: str
    beside: str
    median: float
    low: float
    high: float
    """The middle half of the turns lies between them."""
    note: str = ""


def in_turn(
    rivals: Mapping[str, Callable[[], object]], turns: int = TURNS, repeats: int = 1
) -> dict[str, list[float]]:
    """Milliseconds of each rival in every turn; a first turn warms up and is not counted.

    Each rival runs `repeats` times a turn. The order turns round, so that none always comes after
    the same one.
    """
    spent: dict[str, list[float]] = {name: [] for name in rivals}
    names = list(rivals)
    for turn in range(turns + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            started = time.process_time()
            for _ in range(repeats):
                rivals[name]()
            if turn:
                spent[name].append(1000 * (time.process_time() - started) / repeats)
    return spent


def ratio(times: Mapping[str, Sequence[float]], what: str, beside: str, note: str = "") -> Ratio:
    """The ratio of two rivals, turn by turn."""
    each = [a / b for a, b in zip(times[what], times[beside], strict=True)]
    low, median, high = statistics.quantiles(each, n=4)
    return Ratio(what, beside, median, low, high, note)


def show(ratios: Sequence[Ratio]) -> None:
    """Print ratios, a line each."""
    for r in ratios:
        note = f"  {r.note}" if r.note else ""
        print(f"{r.what:<44} / {r.beside:<34} {r.median:7.2f} ({r.low:.2f} ... {r.high:.2f}){note}")
