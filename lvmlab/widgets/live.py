"""Trainings that run while one watches: play, pause, one step, start again.

A widget knows nothing of models. It gets a function that starts a training for the settings of the
controls, and that training is an iterator: each turn trains a little and returns one frame.

    def train(objective, seed):
        ...                                     # build p, q and a step
        for done in watch(step, batches, steps=800, every=20, seed=seed):
            yield done, look(p, q)              # how many steps, and the arrays of one frame
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from threading import RLock
from typing import Any, Protocol

import ipywidgets as W

from lvmlab.plots import style
from lvmlab.widgets.panel import Panel
from lvmlab.widgets.player import begin

BREATH = 0.02  # seconds between two frames, in which the kernel hears buttons and sliders

Training = Iterator[tuple[int, Any]]
"""Turns of one training: the number of steps done, and what is to be shown."""

Trainer = Callable[..., Training]
"""Starts a training; its arguments are the values of the controls, by name."""


class Scene(Protocol):
    """A picture of a training; `show` gets its name, and lists that grow until another begins."""

    @property
    def picture(self) -> style.Picture: ...

    def show(self, name: str, steps: Sequence[int], frames: Sequence[Any]) -> str: ...


@dataclass
class _Run:
    """One training from its first frame on: all frames so far, and why it ended."""

    training: Training
    steps: list[int] = field(default_factory=list)
    frames: list[Any] = field(default_factory=list)
    over: bool = False
    failure: Exception | None = None


class Live(Panel):
    """A panel over a training that runs while one watches; a changed control starts it anew.

    `train(**settings)` gets the values of the controls by name and returns an iterator of (steps
    done, frame), the untrained model first; it is expected to end after `steps` steps. `scene`
    shows the frames so far. `ahead` trains so many steps before the panel is shown, for readers
    without a kernel. The name of what is trained is the control `objective`, or else `name`.

    Buttons play, pause, train up to the next frame and start again; `play`, `pause`, `step` and
    `restart` do the same without a browser. Playing needs a running event loop, as a notebook's
    kernel has, and leaves it free between two frames. A training that fails stops; its words stand
    beside the buttons and the error is kept in `failure`. Raises `ValueError` for a `train` that is
    no such function, and whatever the first training raises.
    """

    def __init__(
        self,
        scene: Scene,
        train: Trainer,
        steps: int,
        controls: Mapping[str, W.Widget],
        ahead: int = 0,
        name: str = "model",
    ) -> None:
        if not callable(train) or steps < 1:
            raise ValueError(
                "train and steps: expected a function that starts a training, and its number of "
                f"steps; got {type(train).__name__} and {steps}"
            )
        self.scene, self.train, self.steps, self.name = scene, train, steps, name
        self._lock = RLock()
        self._task: asyncio.Task | None = None
        self._play = _button("play", self.toggle)
        self._bar = W.IntProgress(max=steps, layout=W.Layout(width="120px"))
        self._caption = W.HTML()
        buttons = [_button("one step", self.step), _button("restart", self.restart)]
        settings = {key: control.value for key, control in controls.items()}
        self._begin(settings)
        if self.failure is not None:
            raise self.failure
        while not self._run.over and self._run.steps[-1] < ahead:
            self._advance()
        self._show(**settings)  # makes the picture
        extras = [self._play, *buttons, self._bar, self._caption]
        super().__init__(scene.picture, self._show, extras=extras, **controls)
        self._tell()

    @property
    def playing(self) -> bool:
        """Whether frames follow each other by themselves."""
        return self._task is not None

    @property
    def failure(self) -> Exception | None:
        """What stopped the training before its end."""
        return self._run.failure

    @property
    def over(self) -> bool:
        """Whether the training has ended, or failed."""
        return self._run.over

    def play(self) -> None:
        """Show frame after frame until the end, `pause` or a failure; returns at once."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._tell("playing needs a running kernel: press one step")
            return
        if self.over:
            self.restart()
        if not self.over:
            self._task = loop.create_task(self._play_on())
            self._tell()

    def pause(self) -> None:
        """Stop after the present frame, and keep it."""
        self._task = None
        self._tell()

    def toggle(self) -> None:
        """Play, or pause what is playing."""
        self.pause() if self.playing else self.play()

    def step(self) -> None:
        """Train up to the next frame and show it."""
        with self._lock:
            if not self.over and self._advance():
                super().update()
            self._tell()

    def restart(self) -> None:
        """Start a new training with the present settings, and play on if it was playing."""
        self.update()

    def update(self, _: Any = None) -> None:
        """Start anew with the present values of the controls."""
        if self._held:
            return
        with self._lock:
            self._begin(self.values)
            super().update()
            self._tell()

    async def _play_on(self) -> None:
        mine = asyncio.current_task()
        while self._task is mine:
            self.step()
            if self.over or self.error is not None:
                self.pause()
            await asyncio.sleep(BREATH)

    def _begin(self, settings: dict[str, Any]) -> None:
        self._run = _Run(iter(()))
        try:
            self._run.training = _turns(self.train(**settings))
        except Exception as error:  # whatever the reader's train raises, the reader must see it
            self._run.failure, self._run.over = error, True
        else:
            self._advance()

    def _advance(self) -> bool:
        """Take one frame; whether there was one."""
        run = self._run
        try:
            done, frame = next(run.training)
        except StopIteration:
            run.over = True
            return False
        except Exception as error:
            run.failure, run.over = error, True
            return False
        run.steps.append(int(done))
        run.frames.append(frame)
        run.over = done >= self.steps
        return True

    def _show(self, **settings: Any) -> str:
        if not self._run.frames:
            raise self.failure or ValueError("train: expected a first frame, got none")
        name = str(settings.get("objective", self.name))
        said = self.scene.show(name, self._run.steps, self._run.frames)
        self.picture = self.scene.picture  # it may have made a new one, on a larger scale
        return said

    def _tell(self, hint: str = "") -> None:
        """Say where the training stands, beside the buttons."""
        done = self._run.steps[-1] if self._run.steps else 0
        said = f"step {done} of {self.steps}"
        if self.failure is not None:
            hint = f"stopped: {type(self.failure).__name__}: {self.failure}"
            self._bar.bar_style = "danger"
        else:
            self._bar.bar_style = "success" if self.over else ""
        self._bar.value = min(done, self.steps)
        self._play.description = "pause" if self.playing else "play"
        self._caption.value = (
            f'<span role="status">{escape(f"{said}; {hint}" if hint else said)}</span>'
        )


def _turns(training: Any) -> Training:
    if not isinstance(training, Iterator):
        raise ValueError(
            "train: expected an iterator of (steps done, frame), such as a function with "
            f"`yield done, frame` returns; it returned {type(training).__name__}"
        )
    return training


def _button(words: str, act: Callable[[], None]) -> W.Button:
    button = W.Button(description=words, layout=W.Layout(width="80px"))
    button.on_click(lambda _: act())
    return button


def choices(
    options: Mapping[str, Sequence[Any]], start: Mapping[str, Any] | None
) -> dict[str, W.Widget]:
    """Make a menu for each list of strings and a slider for each list of numbers."""
    made: dict[str, W.Widget] = {}
    for name, values in options.items():
        if isinstance(values, str) or not len(values):
            raise ValueError(f"{name}: expected one or more values to choose from, got {values!r}")
        words = any(isinstance(value, str) for value in values)
        kind, more = (
            (W.Dropdown, {}) if words else (W.SelectionSlider, {"continuous_update": False})
        )
        made[name] = kind(
            options=list(values),
            value=values[0],
            description=name.replace("_", " "),
            layout=W.Layout(width="220px" if words else "240px"),
            style={"description_width": "auto"},
            **more,
        )
    begin(made, start)
    return made
