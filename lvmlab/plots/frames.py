"""Frames of a picture: rectangles in inches, three ticks, headings and ceilings.

Rectangles are set by hand: no layout engine runs, so a picture redraws quickly and nothing jumps.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from numpy.typing import ArrayLike

from lvmlab.plots import style


def place(
    picture: Figure, left: float, bottom: float, width: float, height: float, kind: str = "open"
) -> Axes:
    """Add axes at a rectangle in inches from the lower left corner of the picture.

    `kind`: `open` (left and bottom axis, for functions), `box` (full frame, for data space and
    joints), `floor` (full frame on lilac, for latent space), `blank` (nothing, for words, strips
    and images).
    """
    kinds = ("open", "box", "floor", "blank")
    if kind not in kinds:
        raise ValueError(f"kind: expected one of {', '.join(kinds)}; got {kind!r}")
    across, up = picture.get_size_inches()
    ax = picture.add_axes((left / across, bottom / up, width / across, height / up))
    if kind == "blank":
        ax.set(xlim=(0, 1), ylim=(0, 1))
        ax.axis("off")
    elif kind != "open":
        ax.spines[:].set_visible(True)
    if kind == "floor":
        ax.set_facecolor(style.FLOOR)
        ax.spines[:].set_color(style.FLOOR_EDGE)
    return ax


def number(value: float, decimals: int | None = None) -> str:
    """Write a number with a true minus sign; `decimals=None` drops zeros at its end."""
    if not np.isfinite(value):
        return "inf" if value > 0 else "−inf" if value < 0 else "not a number"
    text = f"{value:g}" if decimals is None else f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def ticks(
    ax: Axes,
    x: ArrayLike | None = None,
    y: ArrayLike | None = None,
    x_labels: Sequence[str] | None = None,
    y_labels: Sequence[str] | None = None,
) -> None:
    """Set the few ticks of each axis, two ends and a middle; an empty list removes them."""
    for axis, places, labels in ((ax.xaxis, x, x_labels), (ax.yaxis, y, y_labels)):
        if places is not None:
            marks = np.ravel(np.asarray(places, dtype=float)).tolist()
            axis.set_ticks(marks, [number(v) for v in marks] if labels is None else list(labels))


def three(low: float, high: float) -> list[float]:
    """Choose three round ticks inside an interval, evenly spaced, with 0 if it lies inside."""
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"low and high: expected finite low < high, got {low} and {high}")
    span = high - low
    for exponent in range(int(np.floor(np.log10(span))) + 1, int(np.floor(np.log10(span))) - 3, -1):
        for factor in (5.0, 4.0, 3.0, 2.0, 2.5, 1.5, 1.0):
            step = factor * 10.0**exponent
            first = np.ceil(low / step - 1e-9) * step
            marks = np.arange(first, high + 1e-9 * span, step)
            if len(marks) >= 3:
                centre = int(np.clip(np.argmin(abs(marks)), 1, len(marks) - 2))
                return [float(np.round(m, 12)) for m in marks[centre - 1 : centre + 2]]
    return [low, (low + high) / 2, high]


@style.styled
def names(ax: Axes, x: str = "", z: str = "", y: str = "") -> None:
    """Name the axes: x below; z upright beside a joint or a space; y turned beside a function."""
    ax.set_xlabel(x, fontsize=11, color=style.INK)
    if z:
        ax.set_ylabel(z, fontsize=11, color=style.INK, rotation=0, va="center", labelpad=9)
    else:
        ax.set_ylabel(y, fontsize=11, color=style.INK)


@style.styled
def heading(
    ax: Axes, title: str, note: str = "", colour: str = style.INK, above: float = 0.0
) -> tuple[Text, Text]:
    """Write a bold title and below it one grey line that says what the marks are; return both.

    `above` lifts them by so many inches, to clear marginals on the top edge.
    """
    lift = 72 * above + 7
    common: dict[str, Any] = {
        "xy": (0, 1),
        "xycoords": "axes fraction",
        "textcoords": "offset points",
    }
    top = ax.annotate(
        title,
        xytext=(0, lift + (19 if note else 0)),
        fontsize=13,
        fontweight="bold",
        color=colour,
        **common,
    )
    below = ax.annotate(note, xytext=(0, lift), fontsize=10.5, color=style.NOTE, **common)
    return top, below


def halo(text: Text, width: float = 4.0) -> Text:
    """Put a white edge of `width` points behind a word, so that it can stand on a picture."""
    text.set_path_effects([withStroke(linewidth=width, foreground="white")])
    return text


@style.styled
def ceiling(
    ax: Axes,
    value: float,
    start: float | None = None,
    end: float | None = None,
    label: str = "",
    depth: float | None = None,
    colour: str = style.NOTE,
    floor: bool = False,
) -> list[Artist]:
    """Draw a value that an estimate cannot pass: a grey line, hatched on the forbidden side.

    `start` and `end` are in the units of x; begin the band where it starts to bite. `floor=True`
    forbids what lies below (chance). `label` is a name such as "ceiling log 50 = 3.91"; it stands
    at the right end, outside the axes.
    """
    low, high = ax.get_xlim()
    start, end = low if start is None else start, high if end is None else end
    bottom, top = ax.get_ylim()
    depth = 0.03 * (top - bottom) if depth is None else depth
    base = value - depth if floor else value
    band = Rectangle(
        (start, base),
        end - start,
        depth,
        facecolor=style.HATCH_GROUND,
        edgecolor=style.AXIS,
        hatch="/////",
        linewidth=0,
        zorder=1.5,
    )
    ax.add_patch(band)
    (line,) = ax.plot([start, end], [value, value], color=style.NOTE, lw=1.2, zorder=1.6)
    artists: list[Artist] = [band, line]
    if label:
        artists.append(
            ax.annotate(
                label,
                (end, value),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=10,
                color=colour,
                fontweight="bold" if colour != style.NOTE else "normal",
                annotation_clip=False,
            )
        )
    return artists


def live(*artists: Artist) -> None:
    """Mark artists as moving: a panel redraws them alone, over a background that it keeps.

    The frame of their axes counts as moving too, since it is painted after what moves inside.
    """
    for artist in artists:
        artist.set_animated(True)
        if artist.axes is not None and artist.axes.axison:
            for spine in artist.axes.spines.values():
                spine.set_animated(True)


def moving(picture: Figure) -> list[tuple[Axes, Artist]]:
    """List the moving artists of a picture with their axes, in the order of painting."""
    found = []
    for ax in sorted(picture.axes, key=lambda a: a.get_zorder()):
        if not ax.get_visible():
            continue
        parts = [a for a in ax.get_children() if a.get_animated()]
        found += [(ax, a) for a in sorted(parts, key=lambda a: a.get_zorder())]
    return found
