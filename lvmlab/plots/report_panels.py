"""The panels of the collapse report: rates, scales, rulers, codes, and what the decoder keeps."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from lvmlab.plots import style
from lvmlab.plots.curves import split_bar
from lvmlab.plots.frames import halo, heading, names, number, place, three, ticks
from lvmlab.plots.images import image_rows
from lvmlab.plots.latents import prior_rings
from lvmlab.plots.measure import Array

MANY = 10  # dimensions or components that get a place of their own
STRIPS = 4  # marginals of the aggregated posterior
LEFT, RIGHT = 0.6, 8.8  # inches, the margins of the page


def rates(ax: Axes, report: Mapping[str, Any], known: Mapping[str, Array]) -> None:
    """Every dimension's rate: rows as dots, the mean as a stroke; "off" where it is nothing."""
    rows = report["dimensions"][:MANY]
    note = "dots: rows; bar: mean"
    if len(report["dimensions"]) > MANY:
        note += f"; the first {MANY} of {len(report['dimensions'])}"
    heading(ax, "Rate of each dimension, nats", note)
    drawn = known.get("rates")
    if drawn is None:
        ax.axis("off")
        ax.text(0, 0.5, "this prior has no rate by dimension", color=style.NOTE, fontsize=10)
        return
    drawn = drawn[:, : len(rows)]
    high = max(1.15 * float(np.quantile(drawn, 0.99)), 1.3 * max(r["rate"] for r in rows), 0.1)
    ax.set(xlim=(-0.6, len(rows) - 0.4), ylim=(min(0.0, -0.03 * high), high))
    ticks(ax, x=range(len(rows)), y=three(0, high), x_labels=[_mathematical(r) for r in rows])
    ax.tick_params(axis="x", length=0)
    for d, row in enumerate(rows):
        colour = style.AXIS if row["off"] else style.Q
        _cloud(ax, d, drawn[:, d], row["rate"], colour)
        word = "off" if row["off"] else number(row["rate"], 1)
        at = 0.08 * high if row["off"] else 0.9 * high
        bold: dict[str, Any] = {"fontsize": 10.5, "fontweight": "bold", "color": colour}
        halo(ax.text(d, at, word, ha="center", zorder=5, **bold))


def scales(ax: Axes, report: Mapping[str, Any], known: Mapping[str, Array]) -> None:
    """Every dimension's posterior scale: rows as dots, the mean as a stroke, the prior a line."""
    rows = report["dimensions"][:MANY]
    heading(ax, "Posterior scale", "on the prior's line a dimension says nothing")
    spread = known["scales"][:, : len(rows)]
    high = max(1.3, 1.1 * float(np.quantile(spread, 0.99)))
    ax.set(xlim=(-0.6, len(rows) - 0.4), ylim=(0, high))
    ticks(ax, x=range(len(rows)), y=three(0, high), x_labels=[_mathematical(r) for r in rows])
    ax.tick_params(axis="x", length=0)
    if _standard(known):
        ax.axhline(1, color=style.P, lw=1.5, ls=(0, (4, 2)), zorder=2)
        ax.text(-0.5, 1.03, "N(0, 1)", color=style.P, fontsize=10, va="bottom")
    for d, row in enumerate(rows):
        colour = style.AXIS if row["off"] else style.Q
        _cloud(ax, d, spread[:, d], row["scale"], colour)


def _mathematical(row: Mapping[str, Any]) -> str:
    name, _, index = row["name"].rpartition("_")
    return f"${name}_{{{index}}}$" if name.isalpha() else row["name"]


def _cloud(ax: Axes, at: float, values: Array, mean: float, colour: str) -> None:
    spread = 0.5 * ((np.arange(len(values)) * 0.6180339887) % 1 - 0.5)
    ax.plot(at + spread, values, "o", ms=2.4, mew=0, alpha=0.45, color=colour, zorder=3)
    ax.plot([at - 0.32, at + 0.32], [mean, mean], lw=3.2, color=colour, zorder=4)


def masses(ax: Axes, report: Mapping[str, Any]) -> None:
    """Components by mass, largest first; below the grey line one is dead."""
    masses = sorted(report["components"], reverse=True)
    heading(ax, "Mass of each component", "blue: q(k); orange: an even share; grey: dead")
    if not masses:
        ax.axis("off")
        ax.text(0, 0.5, "no components, no Gaussian posteriors", color=style.NOTE, fontsize=10)
        return
    even, least = 1 / len(masses), report["thresholds"]["component"] / len(masses)
    at = np.arange(len(masses))
    colours = [style.Q if mass >= least else style.AXIS for mass in masses]
    ax.bar(at, masses, width=0.8, color=colours, lw=0, zorder=2)
    ax.axhline(even, color=style.P, lw=1.5, ls=(0, (4, 2)), zorder=3)
    high = 1.15 * max(masses)
    ax.set(xlim=(-0.6, len(masses) - 0.4), ylim=(0, high))
    ticks(ax, x=[], y=three(0, high))
    for k, mass in enumerate(masses):
        if mass < least and len(masses) <= 40:
            ax.text(
                k, even * 1.05, "off", ha="center", va="bottom", fontsize=10.5, color=style.AXIS
            )


def information(ax: Axes, report: Mapping[str, Any]) -> None:
    """One bar for each ruler with its ceiling, and the rate split into information and KL."""
    heading(ax, "How much does z know about x?", "the more rows, the higher the ceiling")
    ax.spines["left"].set_visible(False)
    rows = [e for e in report["estimates"] if e["ceiling_name"]][-4:]
    if report["rate"] is None or not rows:
        ax.axis("off")
        ax.text(0, 0.5, "the encoder has no density", color=style.NOTE, fontsize=10)
        return
    caps = [e["ceiling"] for e in rows if e["ceiling"] is not None]
    end = 1.05 * max([*caps, report["rate"]])
    ax.set(xlim=(0, end), ylim=(-0.35, len(rows) + 0.75))
    ticks(ax, x=three(0, end), y=[])
    names(ax, x="nats")
    shades = [*style.ESTIMATORS] if len(rows) <= 3 else [*style.ESTIMATORS, style.INK]
    for i, row in enumerate(rows):
        at, value = len(rows) - i, max(0.0, row["information"])
        colour = style.INK if row["estimator"].startswith("KSG") else shades[min(i, 2)]
        split_bar(ax, at, [value], [colour], 0.2)
        _bar_words(ax, at, row["estimator"], value, end, colour, row["ceiling"] or 0.0)
        if row["ceiling"] is not None:
            _cap(ax, at, row["ceiling"], end)
    parts = [max(0.0, report["information"]), max(0.0, report["rate"] - report["information"])]
    split_bar(ax, 0, parts, [style.ESTIMATORS[2], style.P], 0.2)
    _bar_words(ax, 0, "rate = I + KL(q(z) | p(z))", sum(parts), end, style.INK)


def _bar_words(
    ax: Axes, at: float, name: str, value: float, end: float, colour: str, past: float = 0.0
) -> None:
    """The ruler's name above its bar, its number behind the bar, or behind its ceiling."""
    ax.text(0, at + 0.17, name, fontsize=10, color=style.NOTE, va="bottom")
    bold: dict[str, Any] = {"fontsize": 10.5, "fontweight": "bold", "color": colour}
    behind = past + 0.035 * end if value > 0.75 * past > 0 else value + 0.015 * end
    halo(ax.text(behind, at, number(value, 2), va="center", zorder=5, **bold))


def _cap(ax: Axes, at: float, ceiling: float, end: float) -> None:
    band = Rectangle(
        (ceiling, at - 0.28), 0.02 * end, 0.56, facecolor=style.HATCH_GROUND, lw=0,
        edgecolor=style.AXIS, hatch="/////", clip_on=False, zorder=1.5,
    )  # fmt: skip
    ax.add_patch(band)
    ax.plot([ceiling] * 2, [at - 0.28, at + 0.28], color=style.NOTE, lw=1.2, clip_on=False)
    words: dict[str, Any] = {"fontsize": 10, "va": "bottom", "color": style.NOTE}
    if ceiling > 0.72 * end:
        ax.text(
            ceiling - 0.01 * end, at + 0.17, f"ceiling {number(ceiling, 1)}", ha="right", **words
        )
    else:  # clear of the ruler's name
        left = max(ceiling + 0.035 * end, 0.45 * end)
        ax.text(left, at + 0.17, f"ceiling {number(ceiling, 1)}", **words)


def aggregate(
    picture: style.Picture, report: Mapping[str, Any], known: Mapping[str, Array], low: float
) -> None:
    """Codes over the prior's rings, and q(z_d) filled under p(z_d)."""
    codes, curves = known.get("codes"), known.get("aggregate")
    if codes is None or curves is None:
        return
    rows = report["dimensions"]
    left = 5.05
    if codes.shape[1] == 2:
        ax = place(picture, left, low, 1.75, 1.75, "floor")
        span = max(3.0, 1.05 * float(np.quantile(np.abs(codes), 0.995)))
        ax.set(xlim=(-span, span), ylim=(-span, span))
        ticks(ax, x=(-2, 0, 2), y=(-2, 0, 2))
        ax.plot(*codes.T, "o", ms=2.6, mew=0, alpha=0.7, color=style.Q, zorder=3)
        if _standard(known):
            prior_rings(ax, "")
        names(ax, x=_mathematical(rows[0]), z=_mathematical(rows[1]))
        heading(ax, "Aggregated posterior and prior", "blue: q(z); orange: p(z)")
        left, width = 7.15, 1.35
    else:
        width = 3.3
    shown = min(STRIPS, len(curves))
    height = 1.75 / shown
    for d in range(shown):
        ax = place(picture, left, low + 1.75 - (d + 1) * height, width, 0.85 * height, "blank")
        if d == 0 and codes.shape[1] < 2:
            heading(ax, "Aggregated posterior and prior", "blue: q(z); orange: p(z)")
        prior = known["prior_density"][d] if "prior_density" in known else None
        peak = max(curves[d].max(), 0.0 if prior is None else prior.max())
        ax.set(xlim=(known["grid"][0], known["grid"][-1]), ylim=(0, 1.1 * peak))
        ax.fill_between(known["grid"], curves[d], color=style.Q, alpha=0.85, lw=0)
        if prior is not None:
            ax.plot(known["grid"], prior, color=style.P, lw=1.5)
        ax.text(1.02, 0.1, _mathematical(rows[d]), transform=ax.transAxes, fontsize=11)


def _standard(known: Mapping[str, Array]) -> bool:
    """Whether both axes of the plane have the prior N(0, 1), so that the rings are its own."""
    if "prior_density" not in known:
        return False
    normal = np.exp(-0.5 * known["grid"] ** 2) / math.sqrt(2 * math.pi)
    return bool(np.abs(known["prior_density"][:2] - normal).max() < 1e-3)


ROWS = ("data", "decoded", "prior")


def survivors(picture: style.Picture, known: Mapping[str, Array]) -> None:
    """Data, their reconstructions and draws: rows of images, else dots."""
    images = shown_images(known)
    head = place(picture, LEFT, 1.42 if images else 2.1, 4, 0.01, "blank")
    heading(head, "What survives the bottleneck", "rows, what is decoded, and draws from the prior")
    if images:
        high, wide = images["data"].shape[1:3]
        unit = (1.25 - 0.28) / 3 / high  # inches for a pixel, in three rows
        width = min(RIGHT - LEFT, 0.85 + unit * (len(images["data"]) * (wide + 1) - 1))
        image_rows(picture, LEFT, 0.06, width, images)
        return
    flat = {name: known[name].reshape(len(known[name]), -1) for name in ROWS if name in known}
    if flat["data"].shape[1] == 2:
        _planes(picture, flat)
    else:
        _against(place(picture, LEFT, 0.5, 3.6, 1.4, "box"), flat)


def shown_images(known: Mapping[str, Array]) -> dict[str, Array]:
    """At most 18 images a row from 0 to 1, or nothing when rows of data are no images."""
    stacks = {name: _images(known[name][:18]) for name in ROWS if name in known}
    images = {name: stack for name, stack in stacks.items() if stack is not None}
    return images if len(images) == len(stacks) else {}


def _planes(picture: style.Picture, flat: Mapping[str, Array]) -> None:
    """Two columns of data: three panels in the same axes, orange over the blue rows."""
    middle = (flat["data"].max(0) + flat["data"].min(0)) / 2
    half = 0.56 * max(float(np.ptp(flat["data"], axis=0).max()), 1e-6)
    limits = [(float(m - half), float(m + half)) for m in middle]
    for column, name in enumerate(("decoded", "prior")):
        ax = place(picture, LEFT + 2.2 * column, 0.5, 1.4, 1.4, "box")
        ax.plot(*flat["data"].T, "o", ms=2.4, mew=0, alpha=0.45, color=style.Q)
        ax.plot(*flat[name].T, "o", ms=2.4, mew=0, alpha=0.6, color=style.P)
        ax.set(xlim=limits[0], ylim=limits[1])
        ticks(ax, x=three(*limits[0]), y=three(*limits[1]))
        words = {"decoded": "orange: decoded", "prior": "orange: from the prior"}[name]
        names(ax, x=words)


def _against(ax: Axes, flat: Mapping[str, Array]) -> None:
    """Every number of the data against what is decoded: on the grey line they agree."""
    x, y = flat["data"].ravel(), flat["decoded"].ravel()
    ax.plot(x, y, "o", ms=2.6, mew=0, alpha=0.6, color=style.P)
    low, high = float(x.min()), float(x.max())
    pad = 0.05 * (high - low) or 0.5
    ax.plot([low, high], [low, high], color=style.EXACT, lw=1.6, zorder=1)
    ax.set(xlim=(low - pad, high + pad), ylim=(low - pad, high + pad))
    ticks(ax, x=three(*ax.get_xlim()), y=three(*ax.get_ylim()))
    names(ax, x="data (across), decoded (up)")


def _images(stack: Array) -> Array | None:
    """Grey (N, H, W) or coloured (N, H, W, 3) images from 0 to 1, None when rows are not images."""
    if stack.ndim == 4 and stack.shape[1] in (1, 3):
        stack = stack[:, 0] if stack.shape[1] == 1 else np.moveaxis(stack, 1, -1)
    side = math.isqrt(stack.shape[1]) if stack.ndim == 2 else 0
    if side >= 4 and side * side == stack.shape[1]:
        stack = stack.reshape(-1, side, side)
    if stack.ndim not in (3, 4) or (stack.ndim == 4 and stack.shape[-1] != 3):
        return None
    return np.clip(stack, 0, 1)
