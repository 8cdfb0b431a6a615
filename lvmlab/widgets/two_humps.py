"""The joint lens on two humps whose every number is known: x from two Gaussians, z says which.

Three objectives and EM train the same model by exact expectations on a grid, without noise. Each
step moves the model's moments a part of the way to those of the target, which never raises
KL(target || model); EM goes all the way and renews its target only in every other frame.
"""

from collections.abc import Callable, Sequence

import numpy as np

from lvmlab.plots import style
from lvmlab.plots.lens import FORMULAS, lens
from lvmlab.plots.measure import Array, Grid
from lvmlab.widgets.joint_lens import joint_lens
from lvmlab.widgets.panel import Panel
from lvmlab.widgets.recording import Recording

SLOPES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_POINTS = np.linspace(-4.5, 4.5, 601)
_STARTS = {  # weight, mean and scale of each hump
    "truth": ((0.5, 0.5), (-1.0, 1.0), (0.5, 0.5)),
    "apart": ((0.35, 0.65), (-0.2, 1.6), (0.9, 0.7)),
}
GRID = Grid(_POINTS, [0, 1], discrete_z=True)


def mixture(weights: Sequence[float], means: Sequence[float], scales: Sequence[float]) -> Array:
    """Return the joint (X, K) of a mixture of Gaussians on the points of `GRID`."""
    w, m, s = (np.asarray(v, dtype=float) for v in (weights, means, scales))
    return w * np.exp(-0.5 * ((_POINTS[:, None] - m) / s) ** 2) / (s * np.sqrt(2 * np.pi))


def encoder(slope: float) -> Array:
    """Return q(z|x) (X, 2) with sigmoid(slope x) for z = 1; slope 8 is the posterior."""
    one = 0.5 * (1 + np.tanh(0.5 * slope * _POINTS))
    return np.stack([1 - one, one], -1)


def recordings(start: str = "truth", frames: int = 61) -> dict:
    """Record MaL, ELBO (one recording for each encoder slope), CoLLike and EM on the two humps.

    `start` is where the model begins: at the `truth`, where the gap of an encoder is the whole KL,
    or `apart`.
    """
    if start not in _STARTS:
        raise ValueError(f"start: expected {' or '.join(_STARTS)}, got {start!r}")
    if frames < 2:
        raise ValueError(f"frames: expected at least 2, got {frames}")
    first = mixture(*_STARTS[start])
    x = mixture(*_STARTS["truth"]).sum(-1)
    made: dict = {"MaL": _record(first, lambda p, _: x[:, None] * _posterior(p), frames)}
    made["ELBO"] = {
        k: _record(first, lambda p, _, k=k: x[:, None] * encoder(k), frames) for k in SLOPES
    }
    matched = _record(first, lambda p, _: x[:, None] * _match(p, x), frames)
    made["CoLLike"] = Recording(
        matched.model, matched.target, pairs=_rows(np.asarray(matched.target), x)
    )
    made["EM"] = _record(first, lambda p, old: x[:, None] * _posterior(p), frames, full=True)
    return made


def encoder_lens(start: str = "truth", frames: int = 61) -> Panel:
    """Make the lens on the two humps: objective, slope of a sigmoid encoder, step of the training.

    To be noticed: at the truth an encoder of slope 0 pays 3.37 nats, slope 8 pays nothing; beyond
    it the gap grows slowly although the target claims more information than the model has.
    """
    chosen = {"objective": "ELBO", "variant": 2.0}
    return joint_lens(GRID, recordings(start, frames), variant="encoder slope", start=chosen)


def encoder_states(slopes: Sequence[float] = (0, 2, 8, 32)) -> style.Picture:
    """Draw the targets of up to four encoder slopes on the true model, side by side."""
    truth = mixture(*_STARTS["truth"])
    x = truth.sum(-1, keepdims=True)
    targets = {f"ELBO, slope {k:g}": x * encoder(k) for k in slopes}
    notes = dict.fromkeys(targets, FORMULAS["ELBO"])
    return lens(GRID, truth, targets, notes=notes, show_model=False)


def _record(first: Array, target: Callable, frames: int, full: bool = False) -> Recording:
    """Record `frames` steps: the model's moments move a tenth of the way to those of the target.

    With `full` they move all the way in every other frame, and the target is renewed in between
    (EM).
    """
    model, now = first, target(first, None)
    films: tuple[list, list] = ([model], [now])
    for frame in range(1, frames):
        moving, renewing = (frame % 2 == 1, frame % 2 == 0) if full else (True, True)
        if moving:
            model = _towards(model, now, 1.0 if full else 0.1)
        if renewing:
            now = target(model, now)
        films[0].append(model)
        films[1].append(now)
    return Recording(np.array(films[0]), np.array(films[1]))


def _towards(model: Array, target: Array, part: float) -> Array:
    """Move the model by moving its moments: the sums of 1, x and x squared in each row."""
    powers = _POINTS[:, None, None] ** np.arange(3)
    moments = [(joint[:, :, None] * powers).sum(0) * GRID.dx for joint in (model, target)]
    weight, first, second = ((1 - part) * moments[0] + part * moments[1]).T
    mean = first / weight
    return mixture(weight / weight.sum(), mean, np.sqrt(second / weight - mean**2))


def _posterior(joint: Array) -> Array:
    return joint / joint.sum(-1, keepdims=True)


def _match(model: Array, x: Array) -> Array:
    """Give each x one z, half of the mass to each: the most likely complete data."""
    with np.errstate(divide="ignore"):
        odds = np.log(model[:, 1]) - np.log(model[:, 0])
    order = np.argsort(odds, kind="stable")
    mass = x[order] * GRID.dx
    below = np.cumsum(mass) - mass
    zero = np.clip((0.5 * mass.sum() - below) / mass, 0, 1)  # the place at the border is shared
    match = np.empty((len(x), 2))
    match[order] = np.stack([zero, 1 - zero], -1)
    return match


def _rows(target: Array, x: Array, count: int = 40) -> Array:
    """Draw the film's dots (T, count, 2): quantiles of x, each with the z it is matched with."""
    rows = np.interp((np.arange(count) + 0.5) / count, np.cumsum(x) * GRID.dx, _POINTS)
    places = np.abs(_POINTS[:, None] - rows).argmin(0)
    z = target[:, places].argmax(-1)
    return np.stack([np.broadcast_to(rows, z.shape), z], -1)
