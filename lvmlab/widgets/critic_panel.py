"""The critic's panel: a known information, K candidates, and a bound under two ceilings.

To be noticed: no sharpness of the critic lifts the bound above either ceiling.
"""

from collections.abc import Mapping
from typing import Any

import ipywidgets as W
import numpy as np

from lvmlab.plots import style
from lvmlab.plots.critics import COLOUR, BoundMarks
from lvmlab.plots.frames import heading, live, number, place
from lvmlab.widgets.panel import Panel
from lvmlab.widgets.player import begin

__all__ = ["critic_panel"]

SIZES = tuple(2**power for power in range(1, 10))


def critic_panel(start: Mapping[str, Any] | None = None) -> Panel:
    """Make the panel: `information` of Gaussian pairs, `K` candidates, `sharpness` of the critic.

    The critic scores the pairs' own log q(z|x) times the sharpness; readings are those of
    `lvmlab.diagnostics.infonce_readings`, made at every move. `start` sets controls by name.
    """
    with style.style():
        view = CriticPicture()
    wide: dict[str, Any] = {
        "layout": W.Layout(width="290px"),
        "style": {"description_width": "initial"},
    }
    controls: dict[str, Any] = {
        "information": W.FloatSlider(
            3.0, min=0, max=7.5, step=0.1, description="true information", **wide
        ),
        "K": W.SelectionSlider(options=SIZES, value=32, description="K", **wide),
        "sharpness": W.FloatSlider(1.0, min=0, max=4, step=0.1, description="sharpness", **wide),
    }
    begin(controls, start)
    return Panel(view.picture, view.show, **controls)


class CriticPicture:
    """The picture of the panel with its moving marks."""

    def __init__(self) -> None:
        self.picture = style.figure(9.0, 4.1)
        self.curve = BoundMarks(self.picture, 0.65, 0.6, 4.9, 2.75, np.array(SIZES))
        heading(self.curve.ax, "A bound stops twice", "Gaussian pairs; thin: 5 runs, thick: mean")
        self.curve.set_live()
        side = place(self.picture, 6.1, 0.6, 2.7, 2.75, "blank")
        self.title, _ = heading(side, " ", "the critic's bound")
        self.big = side.text(0, 0.93, "", fontsize=44, color=COLOUR, fontweight="bold", va="top")
        self.told = side.text(
            0, 0.5, "", fontsize=10.5, color=style.NOTE, va="top", linespacing=1.5
        )
        live(self.title, self.big, self.told)

    def show(self, **values: Any) -> str:
        """Show one setting; return the sentence that tells the bound and its ceilings."""
        from lvmlab.diagnostics import infonce_readings  # brings torch, see `bench_moves`

        information, size, sharpness = values["information"], values["K"], values["sharpness"]
        bounds = infonce_readings(information, SIZES, sharpness)
        self.curve.show(information, bounds, size)
        mean, cap = float(bounds[:, SIZES.index(size)].mean()), float(np.log(size))
        self.title.set_text(f"{size} candidates")
        self.big.set_text(number(mean, 1))
        nearer = "log K" if cap < information else "the information"
        self.told.set_text(
            f"nats, of {number(information, 2)} to be found\n"
            f"ceiling log {size} = {number(cap, 2)}\n"
            f"the lower ceiling is {nearer}"
        )
        return (
            f"Of {number(information, 2)} nats a critic of sharpness {number(sharpness, 1)} among "
            f"{size} candidates finds {number(mean, 2)}; it cannot pass log {size} = "
            f"{number(cap, 2)}."
        )
