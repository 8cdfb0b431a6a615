"""Pairings of rows with latents: exact, by batches, relaxed; and what they are worth in nats."""

import numpy as np
from numpy.typing import NDArray

from lvmlab.plots.measure import Array
from lvmlab.widgets.assignment_worlds import KINDS

Whole = NDArray[np.int64]


def rematch(scores: Array, pairing: Whole, rows: Whole) -> Whole:
    """Re-pair `rows` among the latents that they own now, as well as can be; others keep theirs.

    scores (N, M) nats; pairing (N,), the column of each row. The total never falls.
    """
    from scipy.optimize import linear_sum_assignment  # a tenth of a second to import

    new, owned = pairing.copy(), pairing[rows]
    new[rows] = owned[linear_sum_assignment(scores[rows][:, owned], maximize=True)[1]]
    return new


def sinkhorn(
    scores: Array, epsilon: float, quota: Whole | None = None, iterations: int = 200
) -> Array:
    """Return the R (N, M) that maximises <R, S> + epsilon H(R), its rows 1, its columns the quota.

    In logarithms, with potentials in nats that start from a larger epsilon (Cuturi 2013). Columns
    sum to the quota exactly, rows to 1 after enough `iterations`.
    """
    if not epsilon > 0:
        raise ValueError(f"epsilon: expected a positive temperature, got {epsilon}")
    share = np.log(np.ones(scores.shape[1]) if quota is None else quota)
    columns = np.zeros(scores.shape[1])
    for t in np.geomspace(max(10.0, epsilon), epsilon, 12):
        for _ in range(iterations if t == epsilon else 10):
            rows = -t * _log_sum((scores + columns) / t, 1)[:, None]
            filled = _log_sum((scores + rows) / t, 0)
            off = abs(np.exp(filled + columns / t - share) - 1).max()
            columns = t * (share - filled)
            if off < 1e-9:
                break
    return np.exp((scores + rows + columns) / epsilon)


def _log_sum(values: Array, axis: int) -> Array:
    """Logsumexp without the care for corner cases that makes scipy's slow on small arrays."""
    top = values.max(axis, keepdims=True)
    return np.log(np.exp(values - top).sum(axis)) + top.squeeze(axis)


class Pairing:
    """A world with its stored pairing, and the history of log p(x, z) over its moves.

    It starts by chance. `match` re-pairs by batches, `descend` moves parameters, `move` a point.
    """

    def __init__(self, kind: str, points: int, seed: int = 0) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}; got {kind!r}")
        self.kind, self.world = kind, KINDS[kind](points, seed)
        self.random = np.random.default_rng(seed + 1)
        self.columns = np.repeat(np.arange(len(self.world.quota)), self.world.quota)
        self.restart()

    @property
    def soft(self) -> bool:
        return self.kind == "Sinkhorn"

    @property
    def points(self) -> int:
        return len(self.world.x)

    def restart(self) -> None:
        """Pair by chance again and forget the history; the points stay where they are."""
        self.pairing = np.random.default_rng(5).permutation(self.columns)
        self.before = self.pairing.copy()
        self.history: list[tuple[float, float]] = []
        if not self.soft:
            self.note()

    def weights(self, epsilon: float = 0.0) -> Array:
        """The coupling R (N, M) with rows of sum 1: one-hot, or Sinkhorn's at `epsilon`."""
        if self.soft:
            return sinkhorn(self.world.scores(), epsilon, self.world.quota)
        return np.eye(len(self.world.quota))[self.pairing]

    def best(self) -> float:
        """The mean of log p(x, z) in nats under the best pairing of all."""
        scores = self.world.scores()
        everyone = np.arange(self.points)
        return float(scores[everyone, rematch(scores, self.columns, everyone)].mean())

    def chance(self) -> float:
        """The mean of log p(x, z) over all pairings."""
        return float(self.world.scores().mean(0) @ self.world.quota / self.points)

    def value(self, weights: Array) -> float:
        """The mean of log p(x, z) over the pairs of a coupling, in nats."""
        return float((weights * self.world.scores()).sum() / self.points)

    def information(self, weights: Array) -> tuple[float, float]:
        """Information of the joint R / N and the entropy of the latent sample, which bounds it."""
        share = self.world.quota / self.points
        most = -(share * np.log(share)).sum()
        noise = -(weights * np.log(np.maximum(weights, 1e-300))).sum(1).mean()
        return float(most - noise), float(most)

    def match(self, batch: int, epsilon: float = 0.0) -> None:
        """Re-pair once through the data, in random batches; the whole data is one batch."""
        order, old = self.random.permutation(self.points), self.pairing
        scores = self.world.scores()
        for start in range(0, self.points, batch):
            self.pairing = rematch(scores, self.pairing, order[start : start + batch])
        if (self.pairing != old).any():
            self.before = old
        self.note(epsilon)

    def descend(self, epsilon: float = 0.0) -> None:
        """Move the parameters half of the way to their best for the present pairing."""
        self.world.descend(self.weights(epsilon))
        self.note(epsilon)

    def note(self, epsilon: float = 0.0) -> None:
        """Add the present value and the best possible one to the history."""
        self.history.append((self.value(self.weights(epsilon)), self.best()))
