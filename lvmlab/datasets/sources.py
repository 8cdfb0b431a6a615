"""Sources in segments, mixed by an invertible network: data of nonlinear ICA with known answers."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lvmlab.datasets.dataset import bucket

ACTIVATIONS = ("before", "between", "after")
MATRICES = ("orthogonal", "uniform")
_DRAWS = 10_000  # matrices among which the better conditioned quarter is taken


@dataclass(frozen=True, eq=False)
class Mixing:
    """An invertible map of D sources: full-rank matrices and leaky ReLUs in turn.

    matrices: (M, D, D), applied to columns, W z; slope: of the leaky ReLU for negative values,
    above 0; activations: "before" every matrix, "between" them or "after" every one. Kept in
    float64 (`leakyrelu-mixing-invertible`). Raises `ValueError` for anything else.
    """

    matrices: Tensor
    slope: float = 0.2
    activations: str = "before"

    def __post_init__(self) -> None:
        matrices = torch.as_tensor(self.matrices, dtype=torch.float64)
        if matrices.ndim != 3 or not matrices.numel() or matrices.shape[1] != matrices.shape[2]:
            raise ValueError(f"matrices must be (M, D, D), got shape {tuple(matrices.shape)}")
        if (torch.linalg.matrix_rank(matrices) < matrices.shape[1]).any():
            raise ValueError("matrices must have full rank, or x does not determine its sources")
        if not 0 < self.slope < math.inf:
            raise ValueError(f"slope must be positive for an invertible map, got {self.slope}")
        _one_of("activations", self.activations, ACTIVATIONS)
        object.__setattr__(self, "matrices", matrices)

    def __call__(self, sources: Tensor) -> Tensor:
        """The mixed x (N, D) of sources (N, D)."""
        return self._walk(sources)[0]

    def log_det(self, sources: Tensor) -> Tensor:
        """Log|det dx/dsources| in nats, (N,)."""
        return self._walk(sources)[1]

    def inverse(self, x: Tensor) -> Tensor:
        """The sources of x, (N, D)."""
        for part in reversed(list(self._parts())):
            if part is None:
                x = F.leaky_relu(x, 1 / self.slope)
            else:
                x = torch.linalg.solve(part.to(x), x.T).T
        return x

    def _parts(self) -> Iterator[Tensor | None]:
        """Matrices, and None for a leaky ReLU, in the order in which they act."""
        for i, matrix in enumerate(self.matrices):
            if self.activations == "before" or (self.activations == "between" and i):
                yield None
            yield matrix
            if self.activations == "after":
                yield None

    def _walk(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_det = x.new_zeros(len(x))
        for part in self._parts():
            if part is None:
                log_det = log_det + (x < 0).to(x).sum(1) * math.log(self.slope)
                x = F.leaky_relu(x, self.slope)
            else:
                log_det = log_det + torch.linalg.slogdet(part.to(x))[1]
                x = x @ part.to(x).T
        return x, log_det


@dataclass(frozen=True, eq=False)
class Segments:
    """Sources that are independent normals in each segment u, seen through a mixing.

    means, scales: (S, D) of the sources in segment u; scales are standard deviations. All segments
    have the same share of the data. Raises `ValueError` for shapes that disagree and for scales
    that are not positive.
    """

    means: Tensor
    scales: Tensor
    mixing: Mixing

    def __post_init__(self) -> None:
        means, scales = (torch.as_tensor(v).double() for v in (self.means, self.scales))
        dim = self.mixing.matrices.shape[1]
        if means.ndim != 2 or means.shape != scales.shape or means.shape[1] != dim:
            raise ValueError(
                f"means and scales must both be (segments, {dim}), the mixing being of {dim} "
                f"sources, got {tuple(means.shape)} and {tuple(scales.shape)}"
            )
        if not (scales > 0).all():
            raise ValueError("scales are standard deviations and must be positive")
        object.__setattr__(self, "means", means)
        object.__setattr__(self, "scales", scales)

    def sample(
        self,
        per_segment: int,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> dict[str, Tensor]:
        """Draws `x` and `source` (N, D), the segment `u` (N,) and `index`, N = segments x rows.

        With `seed` the draw is the same each time; with `generator`, or with neither, it goes on.
        The sources are not called z: in a batch z would be a latent that is known. Raises
        `ValueError` for fewer than one row a segment.
        """
        if per_segment < 1:
            raise ValueError(f"per_segment must be a number of rows, 1 or more; came {per_segment}")
        if seed is not None and generator is not None:
            raise ValueError("give seed or generator, not both")
        if seed is not None:
            generator = torch.Generator().manual_seed(bucket(f"segments {seed}", 2**32))
        u = torch.arange(len(self.means)).repeat_interleave(per_segment)
        noise = torch.randn(len(u), self.means.shape[1], dtype=torch.float64, generator=generator)
        source = self.means[u] + self.scales[u] * noise
        dtype = dtype or torch.get_default_dtype()
        values = {"x": self.mixing(source).to(dtype), "source": source.to(dtype)}
        return values | {"u": u, "index": torch.arange(len(u))}

    def log_prob(self, x: Tensor, u: Tensor | None = None) -> Tensor:
        """The exact log p(x|u), or log p(x) without u, (N,) nats: what no model can beat."""
        source = self.mixing.inverse(x.double())
        away = (source[:, None] - self.means) / self.scales
        constant = (self.scales.log() + 0.5 * math.log(2 * math.pi)).sum(1)
        each = -0.5 * away.square().sum(-1) - constant - self.mixing.log_det(source)[:, None]
        if u is None:
            return each.logsumexp(1) - math.log(len(self.means))
        return each.gather(1, u[:, None])[:, 0]


def time_contrastive(
    dim: int = 5,
    segments: int = 20,
    layers: int = 4,
    seed: int = 1,
    mean_range: tuple[float, float] = (-3.0, 3.0),
    scale_range: tuple[float, float] = (0.01, 3.0),
    activations: str = "before",
    matrices: str = "orthogonal",
    slope: float = 0.2,
    repeated: bool = False,
) -> Segments:
    """Segments with means and scales drawn evenly, and a random mixing of so many layers.

    The papers count layers without saying what one is. "before": layers - 1 times a leaky ReLU,
    then a matrix, as ICE-BeeM's code reads (two layers are then a LINEAR mix of bent sources);
    "between": layers matrices with leaky ReLUs between them, the last one linear, as in iVAE's
    code; "after": layers times a matrix, then a leaky ReLU, as printed. matrices: "orthogonal", or
    "uniform" on [-1, 1] with columns of length 1, from the better conditioned quarter of 10,000
    draws; repeated: the same one in every layer. Equal ends of `scale_range` make all scales equal,
    which leaves rotations undetermined. (VaDE/iVAE paper, section 4.1; its seed is not known.)
    Raises `ValueError` for sizes below 1, ranges that do not rise and unknown names.
    """
    least = 2 if activations == "before" else 1
    sizes = {"dim": (dim, 1), "segments": (segments, 1), "layers": (layers, least)}
    if bad := {name: size for name, (size, low) in sizes.items() if size < low}:
        raise ValueError(
            f"dim and segments must be 1 or more and layers {least} or more with activations="
            f"{activations!r}, got {bad}"
        )
    _one_of("activations", activations, ACTIVATIONS)
    _one_of("matrices", matrices, MATRICES)
    for name, (low, high) in {"mean_range": mean_range, "scale_range": scale_range}.items():
        if not low <= high:
            raise ValueError(f"{name} must be (low, high), got ({low}, {high})")
    generator = torch.Generator().manual_seed(bucket(f"sources {seed}", 2**32))
    shape = (segments, dim)
    means, scales = (
        low + (high - low) * torch.rand(shape, dtype=torch.float64, generator=generator)
        for low, high in (mean_range, scale_range)
    )
    count = layers - 1 if activations == "before" else layers
    drawn = _matrices(dim, 1 if repeated else count, matrices, generator)
    return Segments(means, scales, Mixing(drawn.expand(count, dim, dim), slope, activations))


def rademacher(bits: int, dim: int, seed: int) -> Tensor:
    """A random matrix (bits, dim) of -1 and 1 that stays fixed (VaDE/iVAE paper, eq. C.1)."""
    if bits < 1 or dim < 1:
        raise ValueError(f"bits and dim must be 1 or more, got {bits} and {dim}")
    generator = torch.Generator().manual_seed(bucket(f"rademacher {seed}", 2**32))
    return 2.0 * torch.randint(2, (bits, dim), generator=generator) - 1


def hashed(x: Tensor, projection: Tensor) -> Tensor:
    """A label 0 ... 2^bits - 1 for each row: bit i says whether row i of `projection` x is above 0.

    x: (N, ...) flattened to (N, D); projection: (bits, D). Gives (N,) whole numbers; the same for
    c x with c > 0. An exact 0 counts as 0, where the paper's sign gives 0.5 (eqs C.2 and C.3;
    `rademacher-hash`). Raises `ValueError` for another number of columns.
    """
    flat = x.flatten(1)
    if projection.ndim != 2 or flat.shape[1] != projection.shape[1]:
        raise ValueError(
            f"projection must be (bits, {flat.shape[1]}), one column for each number in a row of "
            f"x, got {tuple(projection.shape)}: draw it with rademacher(7, {flat.shape[1]}, 0)"
        )
    above = flat @ projection.to(flat).T > 0
    return (above * 2 ** torch.arange(len(projection), device=x.device)).sum(1)


def _matrices(dim: int, count: int, kind: str, generator: torch.Generator) -> Tensor:
    if kind == "orthogonal":
        drawn = torch.randn(count, dim, dim, dtype=torch.float64, generator=generator)
        q, r = torch.linalg.qr(drawn)
        return q * r.diagonal(dim1=1, dim2=2).sign()[:, None]  # even over all orthogonal matrices
    drawn = 2 * torch.rand(_DRAWS, dim, dim, dtype=torch.float64, generator=generator) - 1
    drawn = drawn / drawn.norm(dim=1, keepdim=True)
    condition = torch.linalg.cond(drawn)
    return drawn[condition < condition.quantile(0.25)][:count]


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
