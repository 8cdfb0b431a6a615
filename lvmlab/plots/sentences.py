"""Sentences as pictures: which code wrote which, and a desk where they are read and written.

To be noticed: with a code that is used, a sentence is dear under any code but its own.
"""

from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from lvmlab.plots import style
from lvmlab.plots.frames import halo, heading, live, names, number, place, ticks
from lvmlab.plots.measure import Array

LINES, NEAREST, WORDS = 7, 3, 24
LETTERS, LONGEST = 54, 30  # of a sentence on one line, of a word
DEAR = 9.0  # nats: the darkest word
REACH = 4.0  # standard deviations: the edge of the map


@style.styled
def score_tables(tables: Mapping[str, ArrayLike]) -> style.Picture:
    """Draw which code wrote which sentence: the decoder's bets, one table a model.

    tables: one to three log p(sentence i | code j) in nats, (N, N) by name. A row is the softmax
    over codes: what the decoder believes about who wrote sentence i when all codes are as likely.
    Raises `ValueError` for another number of tables, and tables that are not square and finite.
    """
    if not 1 <= len(tables) <= 3:
        raise ValueError(f"tables: expected one to three models, got {len(tables)}")
    picture, said = style.figure(9.0, 3.5), []
    for column, (name, given) in enumerate(tables.items()):
        scores = np.asarray(given, dtype=float)
        if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or not np.isfinite(scores).all():
            raise ValueError(f"tables[{name!r}]: expected finite (N, N), got {scores.shape}")
        bets = np.exp(scores - scores.max(1, keepdims=True))
        bets /= bets.sum(1, keepdims=True)
        size = len(bets)
        ax = place(picture, 0.75 + 2.85 * column, 0.55, 2.2, 2.2, "box")
        ax.imshow(bets, cmap=style.lvm_p, vmin=0, vmax=1, extent=(0.5, size + 0.5, size + 0.5, 0.5))
        ticks(ax, x=(1, size), y=(1, size))
        names(ax, x="code of sentence", y="sentence" if column == 0 else "")
        own = float(bets.diagonal().mean())
        heading(ax, name, f"{100 * own:.0f} % on its own code")
        said.append(f"{name} {100 * own:.0f} %")
    picture.alt = f"Bets of the decoder on a sentence's own code, chance {100 / size:.0f} %: "
    picture.alt += f"{', '.join(said)}."
    return picture


class WordMarks:
    """Words in a row, each on the colour of its nats, which stand below it; two rows at most."""

    @style.styled
    def __init__(self, ax: Axes) -> None:
        self.ax = ax
        box = {"boxstyle": "square,pad=0.18", "ec": "none", "fc": "white"}
        self.words = [ax.text(0, 0, "", fontsize=12, va="center", bbox=box) for _ in range(WORDS)]
        self.nats = [
            ax.text(0, 0, "", fontsize=10, va="center", color=style.NOTE) for _ in range(WORDS)
        ]
        live(*self.words, *self.nats)

    def show(self, words: Sequence[str], nats: Array) -> None:
        """Show words and the nats (T,) that each one costs."""
        frame = self.ax.get_window_extent()
        across, row = 0.012, 0
        for i, (word, cost) in enumerate(zip(self.words, self.nats, strict=True)):
            text = words[i][:LONGEST] if i < len(words) and row < 2 else ""
            word.set_text(text.replace("$", r"\$"))
            cost.set_text(number(float(nats[i]), 1) if text else "")
            word.get_bbox_patch().set_visible(bool(text))  # type: ignore[union-attr]
            if not text:
                continue
            wide = max(v.get_window_extent().width for v in (word, cost)) / frame.width
            if across + wide > 1:
                across, row = 0.012, row + 1
                if row == 2:
                    word.set_text("")
                    cost.set_text("")
                    word.get_bbox_patch().set_visible(False)  # type: ignore[union-attr]
                    continue
            height = 0.86 - 0.53 * row
            word.set_position((across, height))
            cost.set_position((across, height - 0.25))
            shade = 0.55 * min(float(nats[i]) / DEAR, 1.0)
            word.get_bbox_patch().set_facecolor(style.lvm_p(shade))  # type: ignore[union-attr]
            across += wide + 0.022


class DeskPicture:
    """The picture of the desk: words of A, what is written, the nearest texts, a map of codes."""

    @style.styled
    def __init__(self) -> None:
        self.picture = style.figure(9.0, 6.0)
        top = place(self.picture, 0.3, 4.45, 8.4, 0.95, "blank")
        self.title, self.cost = heading(top, "A, word by word", " ")
        self.words = WordMarks(top)
        page = place(self.picture, 0.3, 1.75, 5.3, 2.0, "blank")
        self.what, self.how = heading(page, " ", " ")
        self.lines = _lines(page, LINES)
        near = place(self.picture, 0.3, 0.2, 5.3, 0.85, "blank")
        heading(near, "Training sentences with the nearest codes to A's")
        self.near = _lines(near, NEAREST)
        self.floor = ax = place(self.picture, 6.15, 0.75, 2.65, 2.65, "floor")
        ax.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH))
        ticks(ax, x=(-3, 0, 3), y=(-3, 0, 3))
        names(ax, x="first principal axis", y="second principal axis")
        self.map, self.unit = heading(ax, "Codes", " ")
        (self.codes,) = ax.plot([], [], ".", ms=3, color=style.Q, alpha=0.5)
        (self.way,) = ax.plot([], [], "-", lw=1.5, color=style.INK, zorder=6)
        (self.written,) = ax.plot([], [], "o", ms=6, color=style.P, mec="white", mew=0.6, zorder=7)
        bold: dict[str, Any] = {"fontsize": 13, "fontweight": "bold", "zorder": 9}
        self.ends = [halo(ax.text(0, 0, letter, ha="center", **bold)) for letter in "AB"]
        live(self.cost, self.what, self.how, self.map, self.unit, *self.lines, *self.near)
        live(self.codes, self.way, self.written, *self.ends)

    def show_words(self, words: Sequence[str], nats: Array, other: float) -> None:
        """Words of A with the nats of each, and what all of them cost given another code."""
        self.words.show(words, nats)
        self.cost.set_text(
            f"{number(float(nats.sum()), 1)} nats given the code of A, {number(other, 1)} given "
            "that of B; below each word its nats"
        )

    def show_texts(self, what: str, how: str, lines: Sequence[str], near: Sequence[str]) -> None:
        """What is written and how, and the nearest training sentences."""
        self.what.set_text(what)
        self.how.set_text(how)
        for marks, texts in ((self.lines, lines), (self.near, near)):
            for i, mark in enumerate(marks):
                text = texts[i] if i < len(texts) else ""
                mark.set_text(shorten(text, LETTERS, placeholder=" ...").replace("$", r"\$"))

    def show_codes(self, model: str, spread: float, codes: Array, at: Array, ends: Array) -> None:
        """Codes (N, 2), those that were written from (M, 2) and A and B (2, 2), in their units."""
        self.map.set_text(f"Codes of {model}")
        self.unit.set_text(f"1 is {spread:.2g} units of z")
        self.codes.set_data(*codes.T)
        self.way.set_data(*ends.T)
        inside = at.clip(-REACH, REACH)
        self.written.set_data(*inside.T)
        for letter, (x, y) in zip(self.ends, ends.clip(-0.9 * REACH, 0.85 * REACH), strict=True):
            letter.set_position((x, y + 0.25))


def _lines(ax: Axes, count: int) -> list[Any]:
    return [ax.text(0, 1 - (i + 0.5) / count, "", fontsize=11.5, va="center") for i in range(count)]
