"""The joint lens on a page: one model, and the targets that objectives make from the same data.

To be noticed: the blue shapes differ, the orange contours do not.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from lvmlab.plots import style
from lvmlab.plots.frames import heading, names, number
from lvmlab.plots.joints import STRIP, JointView, left_margin
from lvmlab.plots.measure import Array, Grid

FORMULAS = {
    "MaL": r"$q(x)\,p(z|x)$",
    "ELBO": r"$q(x)\,q(z|x)$",
    "EM": r"$q(x)\,p_{\mathrm{before}}(z|x)$",
    "CoLLike": "one z for each row",
    "L_CE": r"$q(x)\,q(z|x)$, learned",
    "L_MIM": r"$q(x)\,q(z|x)$, learned",
}
MODEL = r"$p(z)\,p(x|z)$"
CAPTION = (
    "Blue is q, the target that an objective makes from the data. "
    "Orange is p, the same model in each panel."
)


def peaks(grid: Grid, joints: Sequence[ArrayLike]) -> tuple[float, float, float]:
    """Return the largest value of joints (..., X, Z), of their marginals over x, and over z."""
    over = [grid.marginals(j) for j in joints]
    return (
        max(float(np.max(j)) for j in joints),
        max(float(x.max()) for x, _ in over),
        max(float(z.max()) for _, z in over),
    )


@style.styled
def lens(
    grid: Grid,
    model: ArrayLike,
    targets: Mapping[str, ArrayLike],
    pairs: Mapping[str, ArrayLike] | None = None,
    notes: Mapping[str, str] | None = None,
    show_model: bool = True,
) -> style.Picture:
    """Draw a model and some targets side by side, with marginals, information and the KL to p.

    `model` and each target are joints (X, Z) on `grid`; `targets` maps an objective's name to its
    target, at most four panels in all. `pairs` maps a name to dots (N, 2) that replace its heat
    map; over a continuous z their information is at the ceiling log N. `notes` replaces the grey
    line below a title. Raises `ValueError` when an array is no distribution on the grid.
    """
    p = grid.check(model, "model")
    count = len(targets) + show_model
    if not targets or count > 4:
        raise ValueError(
            f"targets: expected 1 to {4 - show_model}, got {len(targets)}; use a second picture"
        )
    drawn = {name: grid.check(t, f"targets[{name!r}]") for name, t in targets.items()}
    pairs, notes = pairs or {}, {**FORMULAS, **(notes or {})}
    picture = style.figure(9.0, 3.8)
    scale = peaks(grid, [p, *drawn.values()])

    left, pitch = left_margin(grid), (9.03 - left_margin(grid)) / count
    for column, name in enumerate([*["Model"] * show_model, *drawn]):
        q = None if show_model and column == 0 else drawn[name]
        # A map of p alone has no other orange map to be compared with: it may use all its shades.
        alone = q is None and not (grid.discrete_x or grid.discrete_z)
        peak = (float(p.max()), *scale[1:]) if alone else scale
        side = min(pitch - STRIP[1] - STRIP[2] - 0.27, 2.6)
        rectangle = (left + column * pitch, 0.84, side, 1.95)
        view = JointView(picture, rectangle, grid, "model" if q is None else "target", *peak)
        names(view.ax, x="x", z="z" if column == 0 else "")
        view.ax.tick_params(labelleft=column == 0, left=column == 0)
        dots = pairs.get(name) if q is not None else None
        view.show(q=q, p=p, pairs=dots)
        _words(view, name, notes.get(name, ""), q, p, dots)
    picture.text(left / 9.0, 0.14 / 3.8, CAPTION, fontsize=10, color=style.NOTE)
    gaps = (f"{name} {number(float(grid.kl(q, p)), 2)} nats" for name, q in drawn.items())
    picture.alt = (
        f"Blue targets differ, the orange model is one: KL to the model {', '.join(gaps)}."
    )
    return picture


def _words(
    view: JointView, name: str, note: str, q: Array | None, p: Array, pairs: ArrayLike | None
) -> None:
    """Write title, information and KL to the model; for pairs over a continuous z the ceiling."""
    title = f"{name} target" if name in FORMULAS else name
    colour = style.P if q is None else style.look(name).colour
    heading(view.ax, title, MODEL if q is None else note, colour, above=STRIP[0] + STRIP[2])
    if pairs is not None and not view.grid.discrete_z:
        information, below = np.log(len(np.asarray(pairs))), f"ceiling log {len(np.asarray(pairs))}"
    else:
        information = view.grid.information(p if q is None else q)
        below = "" if q is None else f"KL to p {number(float(view.grid.kl(q, p)), 2)}"
    view.label.set_text(f"I = {number(float(information), 2)} nats")
    view.note.set_text(below)
