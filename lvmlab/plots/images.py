"""Grids of images, ink on paper: rows of data, decoded and prior samples; tiles over latents.

To be noticed: what the decoded row keeps of the data row above it.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike

from lvmlab.plots import style
from lvmlab.plots.frames import place
from lvmlab.plots.measure import Array

ROW_COLOURS = {"data": style.Q, "decoded": style.P, "prior": style.P}


@style.styled
def image_grid(
    ax: Axes, images: ArrayLike, columns: int | None = None, border: bool = True
) -> AxesImage:
    """Lay images out row by row, with a gutter of one pixel and a thin grey border.

    `images` is (N, H, W) with values from 0 (paper) to 1 (ink), or (N, H, W, 3) in colour from 0 to
    1. The axes should have no ticks (`place(..., kind="blank")`). Raises `ValueError` for other
    shapes and values.
    """
    stack = _stack("images", images)
    columns = columns or min(len(stack), 18)
    rows = -(-len(stack) // columns)
    height, width = stack.shape[1:3]
    ground = 1.0 if stack.ndim == 4 else 0.0
    # A gutter is white: no ink on a grey page, full light on a coloured one.
    page = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, *stack.shape[3:]), ground)
    corners = []
    for n, image in enumerate(stack):
        top, left = n // columns * (height + 1), n % columns * (width + 1)
        page[top : top + height, left : left + width] = image
        low, high = (left - 0.5, top - 0.5), (left + width - 0.5, top + height - 0.5)
        corners.append([low, (high[0], low[1]), high, (low[0], high[1])])
    shown = ax.imshow(page, cmap=style.lvm_n, vmin=0, vmax=1, interpolation="nearest", zorder=1)
    ax.set(xlim=(-0.5, page.shape[1] - 0.5), ylim=(page.shape[0] - 0.5, -0.5))
    ax.axis("off")
    ax.set(xlim=(-0.5, page.shape[1] - 0.5), ylim=(page.shape[0] - 0.5, -0.5))
    if border:
        edges = PolyCollection(
            corners,
            facecolors="none",
            edgecolors=style.IMAGE_EDGE,
            linewidths=0.8,
            zorder=2,
            clip_on=False,
        )
        ax.add_collection(edges, autolim=False)
    return shown


@style.styled
def image_rows(
    picture: Figure, left: float, bottom: float, width: float, rows: Mapping[str, ArrayLike]
) -> list[Axes]:
    """Draw named rows of images, the first on top.

    Data is named in blue, decoded and prior in orange, other rows in ink.

    `rows` maps a name to images (N, H, W) or (N, H, W, 3); `width` inches hold the names and the
    images. Returns the axes of the rows.
    """
    name_width, gap = 0.85, 0.14
    stacks = {name: _stack(name, images) for name, images in rows.items()}
    most = max(len(s) for s in stacks.values())
    made: list[Axes] = []
    for index, (name, stack) in enumerate(reversed(list(stacks.items()))):
        high, wide = stack.shape[1:3]
        unit = (width - name_width) / (most * (wide + 1) - 1)
        row = (left + name_width, bottom + index * (high * unit + gap))
        ax = place(picture, *row, unit * (len(stack) * (wide + 1) - 1), high * unit, kind="blank")
        image_grid(ax, stack, columns=len(stack))
        ax.text(
            -name_width / (unit * (len(stack) * (wide + 1) - 1)),
            0.5,
            name,
            transform=ax.transAxes,
            fontsize=11,
            fontweight="bold",
            color=ROW_COLOURS.get(name, style.INK),
            va="center",
        )
        made.insert(0, ax)
    return made


@style.styled
def image_tiles(ax: Axes, images: ArrayLike, span: float) -> AxesImage:
    """Lay images (R, C, H, W) over a latent plane from -span to span, first row at the bottom."""
    tiles = np.asarray(images, dtype=float)
    if tiles.ndim != 4:
        raise ValueError(f"images: expected shape (R, C, H, W), got {tiles.shape}")
    rows, columns, height, width = tiles.shape
    _stack("images", tiles.reshape(-1, height, width))
    page = np.full((rows, height + 1, columns, width + 1), np.nan)
    page[:, :height, :, :width] = tiles[::-1].transpose(0, 2, 1, 3)
    flat = page.reshape(rows * (height + 1), columns * (width + 1))[:-1, :-1]
    return ax.imshow(
        np.ma.masked_invalid(flat),
        cmap=style.lvm_n,
        vmin=0,
        vmax=1,
        extent=(-span, span, -span, span),
        interpolation="nearest",
        zorder=2,
    )


def _stack(name: str, images: ArrayLike) -> Array:
    stack = np.asarray(images, dtype=float)
    if stack.ndim not in (3, 4) or (stack.ndim == 4 and stack.shape[-1] != 3) or not len(stack):
        raise ValueError(
            f"{name}: expected shape (N, H, W), or (N, H, W, 3) in colour; got {stack.shape}"
        )
    if not np.isfinite(stack).all() or stack.min() < -1e-6 or stack.max() > 1 + 1e-6:
        raise ValueError(
            f"{name}: expected finite values from 0 to 1, got {stack.min():.3g} to "
            f"{stack.max():.3g}; divide by the largest grey value"
        )
    return np.clip(stack, 0, 1)
