"""What the MCC bench measures: two representations, the moves done to one, and four scores."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from lvmlab.diagnostics import MCC


Array = NDArray[Any]
ROWS = (60, 120, 250, 500, 1000)
MIXED = 30.0  # degrees by which the built-in data are turned away from their sources
ALIGNMENTS = ("as is", "matched", "CCA, in sample", "CCA, held out")


class Given(NamedTuple):
    """Two representations of the same rows, and the class of each row."""

    a: Array  # (N, D), unit variance
    b: Array  # (N, E), unit variance
    labels: Array  # (N,)
    words: tuple[str, str, str]  # names of a, of b, and of b before any move


class Moves(NamedTuple):
    """What is done to b: turned, made noisy, bent, its first axis stretched."""

    rotation: float = 0.0
    noise: float = 0.0
    bend: float = 0.0
    stretch: float = 1.0


def measured(given: Given, moves: Moves, rows: int, correlation: str) -> "dict[str, MCC | None]":
    """Score the first `rows` under each alignment; None where half of them are too few for CCA."""
    from lvmlab.diagnostics import mcc  # brings torch, which a page of pictures does without

    a, b = given.a[:rows], moved(given.b, moves)[:rows]
    how: dict[str, Any] = {"correlation": correlation, "shuffles": 3}
    wide = max(a.shape[1], b.shape[1])
    same = a.shape[1] == b.shape[1]
    enough = (rows + 1) // 2 >= wide
    fit, rest = (a[::2], b[::2]), (a[1::2], b[1::2])
    return {
        ALIGNMENTS[0]: mcc(a, b, align="none", **how) if same else None,
        ALIGNMENTS[1]: mcc(a, b, **how),
        ALIGNMENTS[2]: mcc(a, b, align="cca", **how),
        ALIGNMENTS[3]: mcc(*fit, align="cca", held_out=rest, **how) if enough else None,
    }


def moved(b: Array, moves: Moves) -> Array:
    """Turn, blur, bend and stretch codes (N, E); columns come back with unit scale but the first.

    The noise is one fixed draw, so a slider changes its size only.
    """
    z = _turned(b, moves.rotation)
    if moves.noise:
        noise = np.random.default_rng(7).standard_normal(b.shape)
        z = z + moves.noise * z.std(0) * noise
    if moves.bend:
        z = np.sign(z) * np.abs(z) ** (1 + 2 * moves.bend)
    z = z / z.std(0)
    z[:, 0] *= moves.stretch
    return z


def _turned(b: Array, degrees: float) -> Array:
    """Turn the planes (1, 2), (3, 4), ... of codes; a last odd axis stays."""
    even = b.shape[1] // 2 * 2
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    z = b.copy()
    first, second = b[:, 0:even:2], b[:, 1:even:2]
    z[:, 0:even:2], z[:, 1:even:2] = c * first - s * second, s * first + c * second
    return z


@lru_cache(maxsize=8)
def built(dim: int) -> Given:
    """Laplace sources of unit variance, the data made of them, and the quadrant of each row."""
    sources = np.random.default_rng(dim).laplace(size=(ROWS[-1], dim))
    sources = (sources - sources.mean(0)) / sources.std(0)
    labels = 2 * (sources[:, 0] > 0) + (sources[:, 1] > 0)
    return Given(sources, _turned(sources, -MIXED), labels, ("Sources", "z from x", "raw x"))


def given_pair(a: ArrayLike | None, b: ArrayLike | None, labels: ArrayLike | None) -> Given:
    """Check the reader's own two representations and bring their columns to unit scale."""
    if a is None or b is None:
        raise ValueError("a and b: expected two representations of the same rows, got one of them")
    sides = []
    for name, value in (("a", a), ("b", b)):
        side = np.asarray(value, dtype=float)
        fits = side.ndim == 2 and side.shape[1] >= 2 and len(side) >= max(ROWS[0], side.shape[1])
        if not fits or not np.isfinite(side).all():
            raise ValueError(
                f"{name}: expected finite codes (N, D), two columns or more, at least {ROWS[0]} "
                f"rows and as many rows as columns; got shape {side.shape}"
            )
        sides.append((side - side.mean(0)) / np.maximum(side.std(0), 1e-300))
    classes = np.zeros(len(sides[0]), int) if labels is None else np.asarray(labels)
    if len(sides[0]) != len(sides[1]) or classes.shape != sides[0].shape[:1]:
        raise ValueError(
            f"a, b and labels: expected one row for each example, got {len(sides[0])}, "
            f"{len(sides[1])} and labels of shape {classes.shape}"
        )
    if classes.dtype.kind not in "iu" or not 0 <= classes.min() <= classes.max() <= 9:
        raise ValueError("labels: expected integers from 0 to 9")
    return Given(sides[0], sides[1], classes, ("Run A", "Run B", "B as it came"))
