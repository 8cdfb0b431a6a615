"""The collapse dial: a linear model in closed form, whose posterior a slider turns into the prior.

To be noticed: the big number, and whether the blue ellipses ARE the dashed ring. Nothing is trained
and nothing is estimated: each axis of the data obeys one formula, so the information has no
ceiling.
"""

from collections.abc import Sequence
from typing import Any

import ipywidgets as W
import numpy as np
from matplotlib.collections import LineCollection, PolyCollection
from numpy.typing import ArrayLike

from lvmlab.plots import style
from lvmlab.plots.frames import heading, live, names, number, place, ticks
from lvmlab.plots.latents import latent_axes, prior_rings
from lvmlab.plots.measure import Array
from lvmlab.widgets.linear import FloorMarks, JointMarks, check_spectrum, linear_axis
from lvmlab.widgets.panel import Panel

COLOUR = style.FAMILIES["ELBO"]
TWO_AXES, DIGITS = "two axes", "digits"
LOW, HIGH = 0.25, 32.0  # the range of beta
FINEST = 0.1  # the smallest decoder scale


def collapse_dial(eigenvalues: ArrayLike | None = None, variance: float = 4.0) -> Panel:
    """Make the dial: beta, decoder scale and second variance, for two axes or those of real data.

    The first axis has `variance`. With `eigenvalues` (D,), the variances of real data along its
    principal axes, a switch `data` offers them under the name digits: then as many latents are on
    offer as there are axes, and the slider of the second variance rests. Raises `ValueError` for
    eigenvalues that are negative, not finite or fewer than two.
    """
    spectrum = None if eigenvalues is None else check_spectrum(eigenvalues)
    with style.style():
        dial = DialPicture(max(variance, 4.0 if spectrum is None else float(spectrum[0])))
    wide: dict[str, Any] = {
        "layout": W.Layout(width="290px"),
        "style": {"description_width": "initial"},
    }
    controls: dict[str, Any] = {
        "beta": W.FloatLogSlider(
            1.0, base=2, min=-2, max=5, step=0.25, readout_format=".3g", description="beta", **wide
        ),
        "s": W.FloatSlider(
            0.5, min=FINEST, max=1.5, step=0.05, description="decoder scale s", **wide
        ),
        "second": W.FloatSlider(
            1.0, min=0.05, max=4.0, step=0.05, description="second axis variance", **wide
        ),
    }
    if spectrum is not None:
        controls["data"] = W.ToggleButtons(
            options=[TWO_AXES, DIGITS], style={"button_width": "80px"}
        )

    def draw(beta: float, s: float, second: float, data: str = TWO_AXES) -> str:
        controls["second"].disabled = data == DIGITS
        if data == DIGITS and spectrum is not None:
            return dial.show(spectrum, s, beta)
        return dial.show(np.array([variance, second]), s, beta)

    return Panel(dial.picture, draw, **controls)


class DialPicture:
    """The picture of the dial with its moving marks; `show` sets it to one model.

    Spaces and bars keep their limits; only another kind of data changes the units of x.
    """

    def __init__(self, largest: float = 4.0) -> None:
        most = float(linear_axis(largest, FINEST, LOW).information)
        self.top = 2.0 * float(np.ceil(most / 2))  # nats that no latent can pass on these sliders
        self.picture = style.figure(9.0, 5.0)
        self.joint = JointMarks(place(self.picture, 0.6, 2.2, 2.1, 2.1, kind="box"))
        heading(self.joint.ax, "Data and first latent", "blue: q(x, z1); orange: p")
        names(self.joint.ax, x="x", z=r"$z_1$")
        self.floor = FloorMarks(latent_axes(self.picture, 3.55, 2.2, 2.1))
        heading(self.floor.ax, "Latent space", "an ellipse: one posterior, 1 sd")
        live(*prior_rings(self.floor.ax))  # the rings stay above the ellipses
        self._add_curves()
        self._add_bars()
        words = place(self.picture, 6.35, 2.2, 2.6, 2.7, kind="blank")
        words.text(0, 0.93, "Linear VAE", fontsize=16, fontweight="bold", color=COLOUR, va="center")
        self.big = words.text(-0.02, 0.68, "", fontsize=44, fontweight="bold", va="center")
        words.text(0, 0.45, "nats about x in z", fontsize=11, color=style.NOTE, va="center")
        self.active = words.text(0, 0.29, "", fontsize=11, fontweight="bold", va="center")
        self.parts = words.text(0, 0.17, "", fontsize=10.5, color=style.NOTE, va="center")
        words.text(
            0, 0.05, "exact, so there is no ceiling", fontsize=10, color=style.NOTE, va="center"
        )
        live(self.big, self.active, self.parts)

    def _add_curves(self) -> None:
        self.curves = ax = place(self.picture, 0.6, 0.55, 5.05, 0.9)
        heading(ax, "Information of each latent, nats")
        ax.set_xscale("log", base=2)
        ax.set(xlim=(LOW, HIGH), ylim=(0, self.top))
        ax.minorticks_off()
        ticks(ax, x=(1, 4, 16), y=(0, self.top / 2, self.top))
        names(ax, x="beta")
        self.lines = LineCollection([], colors=COLOUR, zorder=2, capstyle="round")
        ax.add_collection(self.lines, autolim=False)
        (self.dots,) = ax.plot([], [], "o", mew=0, color=style.INK, zorder=4)
        self.cursor = ax.axvline(1, color=style.INK, lw=1, zorder=1)
        off: dict[str, Any] = {"fontsize": 10, "color": style.NOTE, "zorder": 3, "va": "center"}
        self.cliffs = [ax.text(1, height, "", **off) for height in (0.9 * self.top, 0.7 * self.top)]
        self.drops = LineCollection([], colors=style.AXIS, linewidths=0.8, zorder=0.5)
        ax.add_collection(self.drops, autolim=False)
        live(self.lines, self.dots, self.cursor, self.drops, *self.cliffs)

    def _add_bars(self) -> None:
        self.bars_ax = ax = place(self.picture, 6.35, 0.55, 2.5, 0.9)
        heading(ax, "At this beta")
        ax.set(xlim=(0, 1), ylim=(0, self.top))
        ticks(ax, x=(), y=())
        ax.spines.left.set_visible(False)
        self.axis_name = ax.text(0.5, -0.13, "", ha="center", va="top", fontsize=11)
        self.axis_name.set_transform(ax.transAxes)
        self.slots = [
            ax.text(
                0.25 + 0.5 * k, -0.125 * self.top, f"z{k + 1}", ha="center", va="top", fontsize=11
            )
            for k in (0, 1)
        ]
        self.bars = PolyCollection([], linewidths=0, zorder=2)
        ax.add_collection(self.bars, autolim=False)
        values: dict[str, Any] = {
            "ha": "center",
            "va": "bottom",
            "fontsize": 11,
            "fontweight": "bold",
        }
        self.values = [ax.text(0.25 + 0.5 * k, 0, "", **values) for k in (0, 1)]
        live(self.bars, self.axis_name, *self.slots, *self.values)

    def show(self, variances: Array, scale: float, beta: float) -> str:
        """Show the optimum for axes of given variances (D,); return the sentence that tells it."""
        now = linear_axis(variances, scale, beta)
        total, active = float(now.information.sum()), int((now.information > 0).sum())
        self.joint.show(float(variances[0]), float(now.rho[0]), scale)
        self.floor.show(now.rho[:2])
        self._show_curves(variances, scale, beta, now.information)
        self._show_bars(now.information)
        self.big.set_text(number(total, 1))
        self.active.set_text(f"active {active} of {len(variances)}")
        distortion, rate = float(now.distortion.sum()), float(now.rate.sum())
        decimals = 2 if max(abs(distortion), rate) < 10 else 1  # the line must fit its column
        self.parts.set_text(
            f"distortion {number(distortion, decimals)}, rate {number(rate, decimals)} nats"
        )
        first, second = (number(float(i), 4) for i in now.information[:2])
        return (
            f"beta {beta:.3g}, decoder scale {scale:.3g}: {number(total, 4)} nats about x in z, "
            f"{active} of {len(variances)} latents active; z1 carries {first}, z2 {second} nats."
        )

    def _show_curves(self, variances: Array, scale: float, beta: float, information: Array) -> None:
        points = np.geomspace(LOW, HIGH, 121)
        curves = 0.5 * np.log(np.maximum(1.0, variances[:, None] / (points * scale**2)))
        few = len(variances) == 2
        self.lines.set_segments([np.stack([points, curve], -1) for curve in curves])
        self.lines.set(linewidths=2.4 if few else 0.9, alpha=1.0 if few else 0.5)
        self.dots.set_data(np.full(len(variances), beta), information)
        self.dots.set_markersize(6 if few else 3)
        self.cursor.set_xdata([beta, beta])
        self._show_cliffs(variances / scale**2 if few else np.full(2, np.inf))

    def _show_cliffs(self, cliffs: Array) -> None:
        """Name the beta from which each of two latents is off, on a hairline down to its cliff."""
        drops = []
        for k, (word, cliff) in enumerate(zip(self.cliffs, cliffs, strict=True)):
            at = max(float(cliff), LOW)
            word.set_text(f"z{k + 1} off from {cliff:.3g}" if at < HIGH else "")
            word.set_x(at * 1.06 if at < 8 else at / 1.06)
            word.set_horizontalalignment("left" if at < 8 else "right")
            if LOW < at < HIGH:
                drops.append([(at, 0), (at, word.get_position()[1] + 0.08 * self.top)])
        self.drops.set_segments(drops)

    def _show_bars(self, information: Array) -> None:
        count = len(information)
        slot = 1 / count
        left = (np.arange(count) + (0.2 if count == 2 else 0.1)) * slot
        right = (np.arange(count) + (0.8 if count == 2 else 0.9)) * slot
        tops = np.maximum(information, 0.015 * self.top)  # a dead latent keeps a grey line
        corners = [(left, 0 * tops), (left, tops), (right, tops), (right, 0 * tops)]
        self.bars.set_verts(list(np.stack([np.stack(c, -1) for c in corners], 1)))
        self.bars.set_facecolor([COLOUR if i > 0 else style.AXIS for i in information])
        self.axis_name.set_text("" if count == 2 else f"z1 to z{count}")
        for word in self.slots:
            word.set_visible(count == 2)
        for word, value in zip(self.values, information[:2], strict=True):
            word.set_text("" if count > 2 else number(float(value), 2) if value > 0 else "off")
            word.set(y=float(value) + 0.05 * self.top, color=COLOUR if value > 0 else style.NOTE)


def collapse_states(
    betas: Sequence[float] = (1, 4, 16, 20), scale: float = 0.5, variances: Sequence[float] = (4, 1)
) -> style.Picture:
    """Draw up to four settings of the dial side by side, for readers without a kernel.

    To be noticed: first the ellipses grow as wide as the ring along z2, then along z1, and the
    information is gone.
    """
    if not 1 <= len(betas) <= 4:
        raise ValueError(f"betas: expected 1 to 4 values, got {len(betas)}")
    picture = style.figure(9.0, 5.3)
    told = []
    with style.style():
        for column, beta in enumerate(betas):
            told.append(
                _state(picture, 0.6 + 2.15 * column, beta, scale, np.array(variances, float))
            )
    picture.alt = (
        f"Information falls as beta rises: {', '.join(told)}; the posteriors become the prior."
    )
    return picture


def _state(picture: style.Picture, left: float, beta: float, scale: float, variances: Array) -> str:
    """Draw one column: the joint of x and z1, the latent floor, and what z1 and both tell."""
    now, side = linear_axis(variances, scale, beta), 1.75
    joint = JointMarks(place(picture, left, 2.98, side, side, kind="box"))
    joint.show(float(variances[0]), float(now.rho[0]), scale)
    floor = FloorMarks(latent_axes(picture, left, 0.6, side))
    floor.show(now.rho[:2])
    prior_rings(floor.ax, label="" if left > 1 else "prior")
    total, active = float(now.information.sum()), int((now.information > 0).sum())
    together = f"active {active} of {len(variances)}: {number(total, 1)} nats"
    heading(joint.ax, f"beta = {beta:g}", together, COLOUR)
    words: dict[str, Any] = {
        "fontsize": 13,
        "fontweight": "bold",
        "transform": joint.ax.transAxes,
        "zorder": 6,
    }
    of_pair = number(float(now.information[0]), 1)
    joint.ax.text(0.035, 0.965, f"I = {of_pair} nats", va="top", **words)
    for ax, z in ((joint.ax, r"$z_1$"), (floor.ax, r"$z_2$")):
        names(ax, x="x" if ax is joint.ax else r"$z_1$", z=z if left < 1 else "")
        ax.tick_params(left=left < 1, labelleft=left < 1)
    return f"{number(total, 2)} nats at beta {beta:g}"
