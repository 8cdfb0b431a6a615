"""Buttons that move through the frames of a recorded training."""

from collections.abc import Mapping
from typing import Any

import ipywidgets as W


def player(step: W.IntSlider) -> list[W.Widget]:
    """Make play, pause and stop buttons for a slider, and a button for one step."""
    play = W.Play(value=step.value, min=0, max=step.max, interval=120)
    W.jslink((play, "value"), (step, "value"))
    forward = W.Button(description="one step", layout=W.Layout(width="90px"))

    def advance(_: Any) -> None:
        step.value = min(step.value + 1, step.max)

    forward.on_click(advance)
    return [play, forward]


def begin(controls: Mapping[str, W.Widget], start: Mapping[str, Any] | None) -> None:
    """Set controls by name before a panel is made; `ValueError` for a name that is none of them."""
    for name, value in (start or {}).items():
        if name not in controls:
            raise ValueError(f"start: expected names among {', '.join(controls)}; got {name!r}")
        controls[name].value = value
