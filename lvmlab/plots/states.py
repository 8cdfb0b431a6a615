"""States of a learning side by side: in each, q is filled in blue and p outlined in orange.

To be noticed: where orange covers blue, the two joints agree; where the cloud is not tilted, z
says nothing about x.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from lvmlab.plots import style
from lvmlab.plots.frames import heading, names, number
from lvmlab.plots.joints import STRIP, JointView
from lvmlab.plots.lens import peaks
from lvmlab.plots.measure import Grid


def states(
    grid: Grid,
    joints: Mapping[str, tuple[ArrayLike | None, ArrayLike | None]],
    notes: Mapping[str, str] | None = None,
) -> style.Picture:
    """Draw one to four pairs of joints with their marginals, the information in q and KL(q || p).

    `joints` maps a title to (q, p), arrays (X, Z) on `grid`; None leaves one of the two out, and a
    model p alone is drawn filled in orange. `notes` maps a title to the grey line below it. All
    panels share their scales. Raises `ValueError` for no or more than four states, a state without
    q and p, and arrays that are no distributions.
    """
    if not 1 <= len(joints) <= 4:
        raise ValueError(
            f"joints: expected one to four states, got {len(joints)}; try two pictures"
        )
    checked = {title: _checked(grid, title, *pair) for title, pair in joints.items()}
    scales = peaks(grid, [j for pair in checked.values() for j in pair if j is not None])
    picture = style.figure(9.0, 3.45)
    pitch = 8.6 / len(joints)
    side = (min(pitch - STRIP[1] - STRIP[2] - 0.2, 3.0), 1.9)
    said = []
    for column, (title, (q, p)) in enumerate(checked.items()):
        kind = "model" if q is None else "target"
        view = JointView(picture, (0.48 + column * pitch, 0.55, *side), grid, kind, *scales)
        colour = style.P if q is None else style.Q if p is None else style.INK
        heading(view.ax, title, (notes or {}).get(title, ""), colour, above=STRIP[0] + STRIP[2])
        names(view.ax, x="x", z="z" if column == 0 else "")
        view.ax.tick_params(labelleft=column == 0, left=column == 0)
        view.show(q=q, p=p)
        shown = np.asarray(p if q is None else q)
        words = f"I = {number(float(grid.information(shown)), 2)} nats"
        view.label.set_text(words)
        if q is not None and p is not None:
            view.note.set_text(f"KL {number(float(grid.kl(q, p)), 2)}")
            words += f" and a KL from q to p of {number(float(grid.kl(q, p)), 2)} nats"
        said.append(f"{title} has {words}")
    picture.alt = f"Joints of x and z, q in blue and p in orange: {'; '.join(said)}."
    return picture


def _checked(
    grid: Grid, title: str, q: ArrayLike | None, p: ArrayLike | None
) -> tuple[ArrayLike | None, ArrayLike | None]:
    if q is None and p is None:
        raise ValueError(f"joints[{title!r}]: expected q, p or both, got neither")
    return (
        None if q is None else grid.check(q, f"q of {title!r}"),
        None if p is None else grid.check(p, f"p of {title!r}"),
    )
