"""The topic table: what an ensemble of categorical latents says about texts, and about labels.

To be noticed: the blue cells leave the floor and gather in one row each; the blue part of log K
grows at the expense of indecision; the line of the average lies above most dots.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as W
import numpy as np
from matplotlib.collections import LineCollection
from numpy.typing import ArrayLike

from lvmlab.plots import style
from lvmlab.plots.frames import ceiling, heading, live, names, number, place, three, ticks
from lvmlab.plots.tables import TableView
from lvmlab.plots.topics import PARTS, Split, SplitMarks, legend, split_log_k
from lvmlab.widgets.panel import Panel
from lvmlab.widgets.player import begin, player
from lvmlab.widgets.topic_films import TopicFilm, TopicRecording

__all__ = ["TopicRecording", "topic_states", "topic_table"]

SHOWN = 100  # texts that can be looked at
NUMBERS = 6  # categories up to which cells and bars carry numbers


def topic_table(
    recordings: Mapping[str, Any],
    texts: Sequence[str],
    labels: ArrayLike,
    label_names: Sequence[str],
    start: Mapping[str, Any] | None = None,
) -> Panel:
    """Make the table over recorded ensembles: objective, step, text and number of members.

    `recordings` maps an objective's name to a `TopicRecording` (or a mapping with its fields), all
    with as many members, evaluations and categories, on the N rows of `labels` (N,), integers that
    index `label_names`; `texts` (N,) are those rows, of which the first 100 can be looked at. The
    last evaluation comes first, and `start` sets controls by name.
    Raises `ValueError` for arrays that do not fit.
    """
    board = TopicBoard(recordings, texts, labels, label_names)
    with style.style():
        drawn = TopicPicture(board)
    wide: dict[str, Any] = {
        "layout": W.Layout(width="230px"),
        "style": {"description_width": "auto"},
    }
    controls: dict[str, Any] = {
        "objective": W.Dropdown(
            options=list(board.films), description="objective", layout=W.Layout(width="220px")
        ),
        "row": W.IntSlider(0, 0, min(len(texts), SHOWN) - 1, description="text", **wide),
    }
    if board.members > 1:
        controls["members"] = W.IntSlider(1, 1, board.members, description="members", **wide)
    last = board.frames - 1
    step = W.IntSlider(last, 0, last, description="evaluation", **wide)
    if last:
        controls["step"] = step
    begin(controls, start)

    def draw(objective: str, row: int, members: int = 1, step: int = last) -> str:
        return drawn.show(objective, row, members, step)

    return Panel(drawn.picture, draw, extras=player(step) if last else (), **controls)


class TopicBoard:
    """All that the table shows, checked, with limits that hold for every frame."""

    def __init__(
        self,
        recordings: Mapping[str, Any],
        texts: Sequence[str],
        labels: ArrayLike,
        label_names: Sequence[str],
    ) -> None:
        self.labels, self.names = np.asarray(labels), list(label_names)
        classes = len(self.names)
        whole = self.labels.dtype.kind in "iu" and self.labels.shape == (len(texts),)
        if not whole or not len(texts) or not 0 <= self.labels.min() <= self.labels.max() < classes:
            raise ValueError(
                f"labels: expected {len(texts)} integers from 0 to {classes - 1}, one for each "
                f"text, got shape {self.labels.shape} of {self.labels.dtype}"
            )
        if not recordings:
            raise ValueError("recordings: expected at least one objective, got none")
        self.texts = [textwrap.shorten(text, 150, placeholder=" ...") for text in texts[:SHOWN]]
        self.films = {n: TopicFilm(n, r, len(texts)) for n, r in recordings.items()}
        shapes = {n: f.posteriors.shape for n, f in self.films.items()}
        if len(set(shapes.values())) > 1:
            raise ValueError(f"recordings: expected one shape (M, T, N, K) for all, got {shapes}")
        first = next(iter(self.films.values()))
        self.members, self.frames, self.categories = first.members, first.frames, first.categories
        if self.categories < classes:
            raise ValueError(
                f"recordings: expected a category for each of {classes} labels or more, got "
                f"{self.categories}"
            )
        self.accuracies = {n: f.accuracies(self.labels) for n, f in self.films.items()}
        self.peak = max(self.table(n, self.members, -1).max() for n in self.films)
        self.chance = 100 * np.bincount(self.labels).max() / len(self.labels)

    def table(self, objective: str, members: int, frame: int) -> Any:
        """Texts in each category and class, (K, C)."""
        return self.films[objective].table(members, frame, self.labels, len(self.names))

    def split(self, objective: str, members: int, frame: int) -> Split:
        """Log K in three parts."""
        return split_log_k(self.films[objective].posteriors[members - 1, frame])

    @property
    def category_names(self) -> list[str]:
        """The class that each category is matched with; numbers for those left over."""
        return [*self.names, *(f"({k})" for k in range(len(self.names), self.categories))]


class TopicPicture:
    """The picture of the table with its moving marks; `show` puts one setting on it."""

    def __init__(self, board: TopicBoard) -> None:
        self.board = board
        low = 2.95
        self.picture = style.figure(9.0, low + 3.05)
        self._add_text(low)
        self.view = _contingency(self.picture, (4.15, low, 2.1, 2.1), board)
        heading(self.view.ax, "Categories and labels", "column: a category")
        self.view.set_live()
        bar = place(self.picture, 6.85, low, 0.55, 2.1)
        self.split = SplitMarks(bar, board.categories)
        self.split.set_live()
        heading(bar, f"Where log {board.categories} goes", "nats")
        self.parts = legend(self.picture, bar, board.categories)
        live(*self.parts)
        self._add_accuracy()

    def _add_text(self, low: float) -> None:
        board = self.board
        # many categories need the room of all but two lines of the text
        tall, self.length = (1.2, 5) if board.categories <= NUMBERS else (1.65, 2)
        ax = place(self.picture, 0.2, low + 1.3, 2.85, 0.8, kind="blank")
        self.said = ax.text(0, 0.98, "", fontsize=10, va="top", linespacing=1.15)
        self.title, self.note = heading(ax, "A text, its posterior", " ")
        self.bars_ax = ax = place(self.picture, 1.15, low, 1.9, tall)
        ax.set(xlim=(0, 1), ylim=(board.categories - 0.4, -0.6))
        ticks(ax, x=[0, 0.5, 1], y=range(board.categories), y_labels=board.category_names)
        ax.tick_params(axis="y", length=0, labelsize=10 if board.categories <= NUMBERS else 9.5)
        self.bars = ax.barh(range(board.categories), 0, height=0.62, color=style.Q, zorder=2)
        self.values = [
            ax.text(0, k, "", va="center", fontsize=10, color=style.INK, zorder=3)
            for k in range(board.categories if board.categories <= NUMBERS else 0)
        ]
        live(self.said, self.note, *self.bars, *self.values)

    def _add_accuracy(self) -> None:
        board = self.board
        stored = [f.stored for f in board.films.values() if f.stored is not None]
        everything = [f.single for f in board.films.values()] + list(board.accuracies.values())
        values = np.concatenate([v.ravel() for v in (*everything, *stored)] + [[board.chance]])
        low, high = max(0.0, values.min() - 6), min(100.0, values.max() + 6)
        self.lines: Any = None
        along = board.frames > 1
        if along:
            self.trace = ax = place(self.picture, 0.7, 0.55, 5.5, 1.4)
            note = "thin: members alone; thick: their average; hatched: below the largest class"
            heading(ax, "Accuracy along the evaluations", note)
            ax.set(xlim=(0, board.frames - 1), ylim=(low, high))
            ticks(ax, x=three(0, board.frames - 1), y=three(low, high))
            names(ax, x="evaluation", y="percent")
            self.lines = LineCollection([], linewidths=0.6, alpha=0.5, zorder=2)
            ax.add_collection(self.lines, autolim=False)
            (self.mine,) = ax.plot([], [], lw=2.4, zorder=3)
            (self.old,) = ax.plot([], [], lw=1.6, ls=style.DOTTED, color=style.INK, zorder=3)
            self.cursor = ax.axvline(0, color=style.INK, lw=1, zorder=1.8)
            word: dict[str, Any] = {"fontsize": 10, "va": "top", "ha": "right"}
            self.old_name = ax.text(0, 0, "", color=style.INK, zorder=4, **word)
            live(self.lines, self.mine, self.old, self.cursor, self.old_name)
        self.many = ax = place(self.picture, 6.85, 0.55, 1.9, 1.4)
        heading(ax, "And more members", "dots alone; line: average")
        ax.set(xlim=(0.5, board.members + 0.5), ylim=(low, high))
        ticks(ax, x=sorted({1, board.members}), y=three(low, high))
        names(ax, x="members", y="" if along else "percent")
        for panel in [ax, *([self.trace] if along else [])]:
            ceiling(panel, board.chance, depth=board.chance - low, floor=True)
        (self.dots,) = ax.plot([], [], "o", ms=3.9, mew=0, alpha=0.55, zorder=3)
        (self.average,) = ax.plot([], [], lw=2.4, zorder=2)
        (self.here,) = ax.plot([], [], "o", ms=7, mfc="white", mew=2, zorder=4)
        live(self.dots, self.average, self.here)

    def show(self, objective: str, row: int, members: int, frame: int) -> str:
        """Show one setting; return the sentence that tells what it shows."""
        board, film = self.board, self.board.films[objective]
        now = film.posteriors[members - 1, frame, row]
        lines = textwrap.wrap(board.texts[row], 40)[: self.length]
        self.said.set_text("\n".join(lines).replace("$", r"\$"))
        label = board.names[board.labels[row]]
        self.note.set_text(f"text {row}; its label: {label}")
        for k, bar in enumerate(self.bars):
            bar.set_width(now[k])
        for k, value in enumerate(self.values):
            inside = now[k] > 0.7
            value.set(
                text=number(float(now[k]), 2), x=now[k] + (-0.03 if inside else 0.03),
                ha="right" if inside else "left", color="white" if inside else style.INK,
            )  # fmt: skip
        self.view.show(board.table(objective, members, frame))
        split = board.split(objective, members, frame)
        self.split.show(split)
        for word, name, part in zip(self.parts, PARTS, split, strict=True):
            word.set_text(f"{name} {number(part, 2)}")
        self._show_accuracy(objective, members, frame)
        reached = board.accuracies[objective][members - 1, frame]
        return (
            f"{objective}, step {number(float(film.steps[frame]))}, {members} "
            f"member{'s' if members > 1 else ''}: {number(float(reached), 1)} percent; "
            f"log {board.categories} is {number(split.information, 2)} information, "
            f"{number(split.aggregated_kl, 3)} aggregated KL and {number(split.indecision, 2)} "
            f"indecision; text {row} ({label}) goes to {board.category_names[now.argmax()]} with "
            f"{number(float(now.max()), 2)}."
        )

    def _show_accuracy(self, objective: str, members: int, frame: int) -> None:
        board, film = self.board, self.board.films[objective]
        reached, colour = board.accuracies[objective], style.look(objective).colour
        if self.lines is not None:
            t = np.arange(film.frames)
            self.lines.set_segments([np.stack([t, one], -1) for one in film.single])
            self.lines.set_color(colour)
            self.mine.set_data(t, reached[members - 1])
            self.mine.set_color(colour)
            self.cursor.set_xdata([frame, frame])
            stored = np.empty(0) if film.stored is None else film.stored
            self.old.set_data(t[: len(stored)], stored)
            self.old_name.set_text("stored z" if len(stored) else "")
            if len(stored):
                self.old_name.set_position((t[-1], stored[-1] - 2))
        count = np.arange(1, board.members + 1)
        self.dots.set_data(count, film.single[:, frame])
        self.average.set_data(count, reached[:, frame])
        self.here.set_data([members], [reached[members - 1, frame]])
        for mark in (self.dots, self.average, self.here):
            mark.set_color(colour)


def topic_states(
    recordings: Mapping[str, Any],
    texts: Sequence[str],
    labels: ArrayLike,
    label_names: Sequence[str],
    show: Sequence[tuple[str, int, int]] | None = None,
) -> style.Picture:
    """Draw two to four settings side by side: categories against labels, and where log K goes.

    `show` lists (objective, members, evaluation), default all members of each objective at the end.
    Other arguments as for `topic_table`. To be noticed: an empty column is a category that died.
    """
    board = TopicBoard(recordings, texts, labels, label_names)
    shown = [(n, board.members, board.frames - 1) for n in board.films] if show is None else show
    if not 1 <= len(shown) <= 4 or not {n for n, _, _ in shown} <= set(board.films):
        raise ValueError(f"show: expected one to four of {list(board.films)}, got {list(shown)}")
    with style.style():
        picture, told = _states(board, list(shown))
    picture.alt = f"Texts in categories (columns) and labels (rows): {'; '.join(told)}."
    return picture


def _states(board: TopicBoard, shown: list) -> tuple[style.Picture, list[str]]:
    picture, told = style.figure(9.0, 4.3), []
    pitch = 7.9 / len(shown)
    side = min(pitch - 0.25, 1.9)
    for column, (name, members, frame) in enumerate(shown):
        left = 1.0 + column * pitch
        view = _contingency(picture, (left, 1.65, side, 1.9), board, named=column == 0)
        view.show(board.table(name, members, frame))
        reached = float(board.accuracies[name][members - 1, frame])
        step = number(float(board.films[name].steps[frame]))
        who = f"{members} members" if members > 1 else "one member"
        heading(view.ax, name, f"step {step}, {who}", style.look(name).colour)
        split = board.split(name, members, frame)
        bar = place(picture, left, 0.55, side, 0.36, kind="blank")
        bar.set(xlim=(0, np.log(board.categories)), ylim=(0, 1))
        start = 0.0
        for part, ink in zip(split, (style.Q, style.P, "#B9BEC6"), strict=True):
            bar.barh(0.5, max(part, 0), left=start, height=1, color=ink)
            start += part
        bar.text(0, -0.25, f"I = {number(split.information, 2)} nats", va="top", fontsize=10)
        words = f"{number(reached, 1)} %"
        view.ax.text(0, -0.1, words, transform=view.ax.transAxes, va="top", fontsize=13,
                     fontweight="bold")  # fmt: skip
        told.append(f"{name}, step {step}, {who}: {words}, I = {number(split.information, 2)} nats")
    words = "blue: information; orange: aggregated KL; grey: indecision; together log"
    picture.text(1.0 / 9, 0.02, f"{words} {board.categories}", fontsize=10, color=style.NOTE)
    return picture, told


def _contingency(
    picture: style.Picture, rectangle: tuple, board: TopicBoard, named: bool = True
) -> TableView:
    few = max(board.categories, len(board.names)) <= NUMBERS
    classes = len(board.names)
    return TableView(
        picture, rectangle, (board.categories, classes), "q", float(board.peak),
        decimals=0 if few else None, x_names=[""] * board.categories,
        z_names=board.names if named else [""] * classes,
    )  # fmt: skip
