"""Small worlds for the assignment theatre: rows x, latents z, and scores log p(x, z) in nats.

Five names of one matrix: each world scores every row with every latent, and moves its parameters
for a given pairing. All live in a plane, with Gaussians of one scale.
"""

import numpy as np

from lvmlab.plots.measure import Array

LEVELS = (0.08, 0.30, 0.65)  # contours, as parts of the peak
POINTS = (4, 12)


class World:
    """Rows `x` (N, 2), latents, and a decoder that puts each latent at a place of the plane.

    `scores()` is log p(x, z) (N, M) in nats, M the number of different latents, each to be used
    `quota` times. What the joint looks like: `across` (N,) and `height` (M,) are the coordinates of
    a pair, `outlines()` the contours of p there.
    """

    latent = "z"
    scale = 0.7  # standard deviation of p(x|z)
    limit = 3.2  # of the plane, on both axes
    across_name, height_name = "$x_1$", "z"
    across_limits: tuple[float, float] = (-3.2, 3.2)

    def __init__(self, points: int, seed: int) -> None:
        if not POINTS[0] <= points <= POINTS[1]:
            raise ValueError(f"points: expected {POINTS[0]} to {POINTS[1]}, got {points}")
        self.random = np.random.default_rng(seed)
        along = self.random.permutation(np.linspace(-1.7, 1.7, points))
        noise = 0.3 * self.random.standard_normal((points, 2))
        self.x = np.stack([1.3 * along, along**2 - 1.2], -1) + noise
        self.quota = np.ones(points, dtype=int)

    @property
    def places(self) -> Array:
        """Where the decoder puts each latent (M, 2)."""
        raise NotImplementedError

    def log_prior(self) -> Array:
        """The log-probability, or density, of each latent (M,)."""
        return np.full(len(self.quota), -np.log(len(self.quota)))

    def scores(self) -> Array:
        """Log p(x_i, z_j) (N, M) in nats."""
        apart = ((self.x[:, None] - self.places) ** 2).sum(-1)
        density = -apart / (2 * self.scale**2) - np.log(2 * np.pi * self.scale**2)
        return density + self.log_prior()

    def move(self, k: int, at: tuple[float, float]) -> None:
        """Put point k at a place: rows first, then latents."""
        if k < len(self.x):
            self.x[k] = at
        else:
            self.move_latent(k - len(self.x), np.asarray(at))

    def move_latent(self, j: int, at: Array) -> None:
        """Put latent j where its decoded place is nearest to `at`."""
        raise NotImplementedError

    def descend(self, weights: Array) -> None:
        """Go half of the way to the best parameters for this pairing (N, M)."""
        raise NotImplementedError

    @property
    def across(self) -> Array:
        return self.x[:, 0]

    @property
    def height(self) -> Array:
        return np.arange(1.0, len(self.quota) + 1)

    @property
    def height_limits(self) -> tuple[float, float]:
        return 0.5, len(self.quota) + 0.9

    def curve(self) -> Array:
        """All places the decoder can reach, as a line (L, 2); empty when that is everywhere."""
        return np.empty((0, 2))

    def outlines(self) -> list[Array]:
        """Lines that show p in the joint: here p(x_1|z) above the level of each z."""
        x = np.linspace(*self.across_limits, 121)
        bumps = 0.45 * np.exp(-0.5 * ((x - self.places[:, :1]) / self.scale) ** 2)
        return [np.stack([x, h + b], -1) for h, b in zip(self.height, bumps, strict=True)]


class Curve(World):
    """Continuous z from N(0, 1), decoded to a parabola: p(x|z) = N(W (1, z, z^2), s^2)."""

    height_limits = (-2.8, 2.8)

    def __init__(self, points: int, seed: int) -> None:
        super().__init__(points, seed)
        self.z = self.random.standard_normal(points).clip(-2.2, 2.2)
        self.W = np.array([[0.0, -1.0], [1.2, 0.3], [0.1, 0.2]])

    @staticmethod
    def basis(z: Array) -> Array:
        """The features (M, 3) of the latents."""
        return np.stack([np.ones_like(z), z, z**2], -1)

    @property
    def places(self) -> Array:
        return self.basis(self.z) @ self.W

    @property
    def height(self) -> Array:
        return self.z

    def log_prior(self) -> Array:
        return -0.5 * self.z**2 - 0.5 * np.log(2 * np.pi)

    def move_latent(self, j: int, at: Array) -> None:
        grid = np.linspace(-2.6, 2.6, 521)
        self.z[j] = grid[((self.basis(grid) @ self.W - at) ** 2).sum(-1).argmin()]

    def descend(self, weights: Array) -> None:
        phi = self.basis(self.z)
        gram = (phi * weights.sum(0)[:, None]).T @ phi
        best = np.linalg.lstsq(gram, phi.T @ weights.T @ self.x, rcond=None)[0]
        self.W = self.W + (best - self.W) / 2

    def curve(self) -> Array:
        return self.basis(np.linspace(-2.6, 2.6, 60)) @ self.W

    def outlines(self) -> list[Array]:
        lines = []
        for level in LEVELS:
            r = np.sqrt(-2 * np.log(level))
            z = r * np.sin(np.linspace(-np.pi / 2, np.pi / 2, 60))
            middle, wide = self.basis(z) @ self.W[:, 0], self.scale * np.sqrt((r**2 - z**2).clip(0))
            x = np.concatenate([middle - wide, (middle + wide)[::-1]])
            lines.append(np.stack([x, np.concatenate([z, z[::-1]])], -1))
        return lines


class Centres(World):
    """Three categories with even quotas: p(x|k) = N(centre_k, s^2), constrained k-means."""

    latent, height_name = "centre", "k"

    def __init__(self, points: int, seed: int) -> None:
        super().__init__(points, seed)
        self.centres = np.array([[-1.5, -1.0], [0.2, 0.4], [1.8, -0.4]])
        self.quota = np.full(3, points // 3)
        self.quota[: points % 3] += 1

    @property
    def places(self) -> Array:
        return self.centres

    def move_latent(self, j: int, at: Array) -> None:
        self.centres[j] = at

    def descend(self, weights: Array) -> None:
        means = weights.T @ self.x / weights.sum(0)[:, None]
        self.centres = self.centres + (means - self.centres) / 2


class Slots(Centres):
    """Permutation-invariant training: N outputs of a network, to be matched to N sources."""

    latent = "output"

    def __init__(self, points: int, seed: int) -> None:
        World.__init__(self, points, seed)
        self.centres = self.x[self.random.permutation(points)]
        self.centres = self.centres + 0.8 * self.random.standard_normal((points, 2))
        self.centres = self.centres.clip(-2.8, 2.8)


class Sphere(World):
    """Noise as target: an encoder's unit vectors f(x) matched to unit vectors z from the prior.

    The reverse factorisation p(x) p(z|x): descending moves the encoder's outputs, not the targets.
    """

    scale, limit = 0.4, 1.35
    across_name, height_name = "angle of f(x) / π", "z / π"
    across_limits, height_limits = (-1.0, 1.0), (-1.0, 1.0)

    def __init__(self, points: int, seed: int) -> None:
        super().__init__(points, seed)
        self.x = _on_circle(self.random.uniform(-1.2, 1.8, points))
        self.targets = _on_circle(self.random.uniform(-np.pi, np.pi, points))

    @property
    def places(self) -> Array:
        return self.targets

    @property
    def across(self) -> Array:
        return _angle(self.x) / np.pi

    @property
    def height(self) -> Array:
        return _angle(self.targets) / np.pi

    def move(self, k: int, at: tuple[float, float]) -> None:
        super().move(k, tuple(_on_circle(_angle(np.asarray(at)))))

    def move_latent(self, j: int, at: Array) -> None:
        self.targets[j] = at

    def descend(self, weights: Array) -> None:
        turn = _angle(weights @ self.targets) - _angle(self.x)
        self.x = _on_circle(_angle(self.x) + ((turn + np.pi) % (2 * np.pi) - np.pi) / 2)

    def curve(self) -> Array:
        return _on_circle(np.linspace(-np.pi, np.pi, 90))

    def outlines(self) -> list[Array]:
        lines = []
        for level in LEVELS:  # |f - z|^2 = 2 - 2 cos(angle) = -2 s^2 log(level)
            apart = np.arccos(1 + self.scale**2 * np.log(level)) / np.pi
            lines += [np.array([[-1, -1 + s], [1, 1 + s]]) for s in (-apart, apart)]
            lines += [np.array([[-1, 1 - s], [1, 3 - s]]) for s in (-apart, apart)]
            lines += [np.array([[-1, -3 + s], [1, -1 + s]]) for s in (-apart, apart)]
        return lines


def _on_circle(angle: Array) -> Array:
    return np.stack([np.cos(angle), np.sin(angle)], -1)


def _angle(place: Array) -> Array:
    return np.arctan2(place[..., 1], place[..., 0])


KINDS: dict[str, type[World]] = {
    "Gaussian": Curve,
    "k-means with quota": Centres,
    "PIT": Slots,
    "sphere": Sphere,
    "Sinkhorn": Curve,
}
