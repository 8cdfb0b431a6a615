"""Images through a code with ten modes: p(k) p(z|k) p(x|z), q(k|x) q(z|k,x) (GM-WAE paper).

The prior is fixed, the networks are those of the paper's section 3, with their sizes as arguments.
Which objective trains them, `summed_elbo` or `wasserstein`, is not their business.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal, kl
from torch.nn import functional as F

from lvmlab import distributions as D
from lvmlab.conditionals import Categorical, Proportions
from lvmlab.joint import Joint
from lvmlab.networks.dcgan import Grow, Shrink

READINGS = ("variance", "scale")


class Modes(nn.Module):
    """A fixed p(z|k) = N(mean_k, L_k L_k^T) for k in 0 ... K - 1, full covariances.

    means: (K, D); factors: (K, D, D), L_k lower triangular. Raises `ValueError` for fewer than two
    modes, which make no mixture, and for shapes that disagree.
    """

    means: Tensor
    factors: Tensor

    def __init__(self, means: Tensor, factors: Tensor):
        super().__init__()
        if means.ndim != 2 or factors.shape != (*means.shape, means.shape[1]):
            raise ValueError(
                f"means must be (K, D) and factors (K, D, D), got {tuple(means.shape)} and "
                f"{tuple(factors.shape)}"
            )
        _check_components(len(means))
        self.register_buffer("means", means.clone())
        self.register_buffer("factors", factors.clone())

    def forward(self, k: Tensor) -> Distribution:
        tril = self.factors[k]
        return MultivariateNormal(self.means[k], scale_tril=tril, validate_args=False)


def ring_prior(
    components: int = 10,
    radius: float = 1.0,
    spread: tuple[float, float] = (0.1, 0.5),
    reading: str = "variance",
) -> Modes:
    """Gaussians in the plane, one rotated by 2 pi k / K for each k (eq. 19; `rotated-prior`).

    spread: of the mode at (radius, 0), along the radius and across it. reading: "variance" takes
    the numbers as variances, as the paper rotates them; "scale" as standard deviations, as its
    section 3.2 has them. As printed the long axis lies across and neighbours overlap;
    spread=(0.5, 0.1) with reading="scale" makes a pinwheel of petals.
    Raises `ValueError` for fewer than two components, other readings, numbers that are not
    positive.
    """
    _check_components(components)
    if reading not in READINGS:
        raise ValueError(f"reading must be one of {', '.join(READINGS)}, got {reading!r}")
    if not all(0 < v < math.inf for v in (radius, *spread)):
        raise ValueError(f"radius and spread must be positive, got {radius} and {spread}")
    scales = torch.tensor(spread) if reading == "scale" else torch.tensor(spread).sqrt()
    turn = 2 * math.pi * torch.arange(components) / components
    cos, sin = turn.cos(), turn.sin()
    rotate = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], 1)
    covariances = rotate @ scales.square().diag() @ rotate.mT
    return Modes(radius * rotate[:, :, 0], torch.linalg.cholesky(covariances))


def equidistant_prior(components: int = 10, scale: float = 1.0, apart: float = 4.0) -> Modes:
    """As many dimensions as modes, any two means `apart` scales away (section 3.2).

    N(apart scale / sqrt(2) e_k, scale^2 I). At 4 two modes share 2 Phi(-2) = 4.55 % of their mass
    (`mode-overlap`). Raises `ValueError` for fewer than two components and for numbers that are
    not positive.
    """
    _check_components(components)
    if not (0 < scale < math.inf and 0 < apart < math.inf):
        raise ValueError(f"scale and apart must be positive, got {scale} and {apart}")
    one = torch.eye(components)
    return Modes(apart * scale / math.sqrt(2) * one, scale * one.expand(components, -1, -1))


class Experts(nn.Module):
    """q(z|x,k): for each k a dense network of its own, all of them in one batched product.

    Called with x (N, ...) and k (N,); each row passes through the layers of its own k and no other.
    Raises `ValueError` for rows that are not of the size it was built for.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        components: int,
        hidden: Sequence[int] = (32, 32),
        floor: float = 1e-3,
    ):
        super().__init__()
        sizes = [inputs, *hidden, 2 * outputs]
        self.inputs, self.floor = inputs, floor
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for a, b in pairwise(sizes):
            bound = 1 / math.sqrt(a)  # as nn.Linear starts
            weight = torch.empty(components, a, b).uniform_(-bound, bound)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.empty(components, 1, b).uniform_(-bound, bound)))

    def forward(self, x: Tensor, k: Tensor) -> Distribution:
        flat = x.flatten(1)
        if flat.shape[1] != self.inputs:
            raise ValueError(
                f"these networks take {self.inputs} numbers for each row, got {tuple(x.shape)}"
            )
        place, most = _places(k, len(self.biases[0]))
        hidden = flat.new_zeros(len(self.biases[0]) * most, self.inputs)
        hidden = hidden.index_copy(0, place, flat).unflatten(0, (-1, most))
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, F.relu(hidden) if i else hidden, weight)
        loc, raw = hidden.flatten(0, 1)[place].chunk(2, -1)
        scale = self.floor + F.softplus(raw)
        return Independent(D.Normal(loc, scale, validate_args=False), 1, validate_args=False)


class Counts(nn.Module):
    """p(x|z) of grey pixels that count: x = share of `trials` yes or no answers, independent.

    The nats are `trials` times the Bernoulli cross-entropy; with trials=1 it is `Bernoulli`. A
    pixel of the 8 x 8 digits counts the ink in 4 x 4 places of a bitmap, so there `trials` is 16.
    The binomial coefficient, a constant, is left out: the numbers are nats up to it.
    Raises `ValueError` for trials that are no whole number from 1 up.
    """

    def __init__(self, network: nn.Module, trials: int = 1):
        super().__init__()
        if trials < 1 or trials != int(trials):
            raise ValueError(f"trials must be a whole number from 1 up, got {trials}: try 1")
        self.network, self.trials = network, trials

    def forward(self, z: Tensor) -> Distribution:
        return _Counted(self.network(z), self.trials)


class _Counted(Distribution):
    arg_constraints: dict = {}  # noqa: RUF012 - torch's own name and form
    support = torch.distributions.constraints.independent(
        torch.distributions.constraints.unit_interval, 3
    )

    def __init__(self, logits: Tensor, trials: int):
        super().__init__(logits.shape[:1], logits.shape[1:], validate_args=False)
        self.logits, self.trials = logits, trials

    @property
    def mean(self) -> Tensor:
        return self.logits.sigmoid()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:  # type: ignore[override]
        with torch.no_grad():
            drawn = torch.distributions.Binomial(self.trials, logits=self.logits)
            return drawn.sample(torch.Size(sample_shape)) / self.trials

    def log_prob(self, value: Tensor) -> Tensor:
        cost = F.binary_cross_entropy_with_logits(self.logits, value, reduction="none")
        return -self.trials * cost.flatten(-3).sum(-1)


def mixture_images(
    shape: Sequence[int],
    prior: Modes,
    encoder: Sequence[int] = (16, 32, 64),
    decoder: Sequence[int] = (512, 256, 128),
    hidden: Sequence[int] = (32, 32),
    kernel: int = 5,
    trials: int = 1,
    coarse: torch.dtype | None = None,
) -> tuple[Joint, Joint]:
    """p(k) p(z|k) p(x|z) and q(x) q(k|x) q(z|x,k) over images (C, H, W) with grey values in [0, 1].

    prior: `ring_prior()` or `equidistant_prior()`, held fixed; p(k) is even. encoder: channels of
    `Shrink` for q(k|x); hidden: of the dense networks of q(z|x,k), one for each k; decoder:
    channels of `Grow`. trials: as for `Counts`; coarse: as for `Grow`. The paper's decoder costs
    minutes a step on a CPU; (64, 32, 16) is the small one. Dense layers have no batch normalisation
    here, so that a code depends on its own row only. Raises `ValueError` as its parts do.
    """
    components, latent = prior.means.shape
    grow = Grow(latent, shape, decoder, kernel, coarse)
    p = Joint("p", {"k": Proportions(components), "z|k": prior, "x|z": Counts(grow, trials)})
    experts = Experts(math.prod(shape), latent, components, hidden)
    which = Categorical(Shrink(shape, components, encoder, kernel))
    return p, Joint("q", {"x": None, "k|x": which, "z|x,k": experts})


def match_moments(p: Joint, q: Joint, x: Tensor, steps: int = 200, lr: float = 1e-3) -> float:
    """Train q(z|x,k) until its codes have each mode's mean and covariance; the last loss.

    Squared differences of the moments of one draw for each row of x, (N, C, H, W), and each k:
    what both objectives start from (section 3; its length is not told). Only the dense networks
    move. Raises `ValueError` for fewer than two rows and for joints without "z|k" and "z|x,k".
    """
    if len(x) < 2:
        raise ValueError(f"x must have 2 rows or more, got {len(x)}: one has no covariance")
    if "z|k" not in p.factors or "z|x,k" not in q.factors:
        raise ValueError(f'expected factors "z|k" and "z|x,k" as of mixture_images, got {p}, {q}')
    prior, experts = p.factors["z|k"], q.factors["z|x,k"]
    components = prior.means.shape[0]  # type: ignore[union-attr]
    k = torch.arange(components, device=x.device)
    target: Any = prior(k)  # type: ignore[misc]
    adam = torch.optim.Adam(experts.parameters(), lr=lr)  # type: ignore[union-attr]
    rows, ks = x.repeat(components, 1, 1, 1), k.repeat_interleave(len(x))
    for _ in range(steps):
        z = experts(rows, ks).rsample().unflatten(0, (components, -1))  # type: ignore[misc]
        apart = z - z.mean(1, keepdim=True)
        covariance = apart.mT @ apart / (len(x) - 1)
        loss = (z.mean(1) - target.mean).square().mean()
        loss = loss + (covariance - target.covariance_matrix).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return loss.item()


def match_clusters(
    q: Joint,
    x: Tensor,
    clusters: Tensor,
    steps: int = 400,
    batch: int = 100,
    lr: float = 2e-3,
    smoothing: float = 0.1,
) -> float:
    """Train q(k|x) until it names the cluster of each row of x, (N, C, H, W); the last loss, nats.

    clusters: (N,), whole numbers below the number of components, of k-means for instance; they need
    no labels, and give every component rows of its own before any objective begins. smoothing: of
    the targets, a share that is spread over all components, so that none starts without a gradient.
    Batches are drawn with torch's own generator. Only the network of q(k|x) moves, and its mode is
    left as it was. Raises `ValueError` for a joint without "k|x", for another number of clusters
    than rows, and for clusters that the network has no output for.
    """
    if "k|x" not in q.factors:
        raise ValueError(f'expected a factor "k|x" as of mixture_images, got {q}')
    if len(clusters) != len(x):
        raise ValueError(f"clusters must name one for each of {len(x)} rows, got {len(clusters)}")
    which: Any = q.factors["k|x"]
    mode = which.training
    with torch.no_grad():
        components = which.eval()(x[:1]).logits.shape[-1]
    which.train(mode)
    if clusters.min() < 0 or clusters.max() >= components:
        raise ValueError(
            f"clusters must lie in 0 ... {components - 1}, as q(k|x) has {components} components; "
            f"got {clusters.min().item()} ... {clusters.max().item()}"
        )
    adam = torch.optim.Adam(which.parameters(), lr=lr)
    which.train()
    for _ in range(steps):
        rows = torch.randint(len(x), (min(batch, len(x)),), device=x.device)
        logits = which(x[rows]).logits
        loss = F.cross_entropy(logits, clusters[rows], label_smoothing=smoothing)
        adam.zero_grad()
        loss.backward()
        adam.step()
    which.train(mode)
    return loss.item()


@kl.register_kl(Independent, MultivariateNormal)
def _kl_of_diagonal(one: Independent, other: MultivariateNormal) -> Tensor:
    """A diagonal Gaussian from a full one; torch has the two of a kind only."""
    if not isinstance(one.base_dist, Normal) or one.reinterpreted_batch_ndims != 1:
        raise NotImplementedError(  # as torch does, so that callers estimate it from draws
            f"no KL(p || q) in closed form for {one} and {type(other).__name__}: expected an "
            "Independent of one dimension over a Normal. Try a mean of log p - log q over draws."
        )
    scale_tril = one.base_dist.scale.diag_embed()
    return kl.kl_divergence(MultivariateNormal(one.mean, scale_tril=scale_tril), other)


def _places(k: Tensor, components: int) -> tuple[Tensor, int]:
    """Where each row goes in a table (K, most) with one line a component, and `most`."""
    counts = torch.bincount(k, minlength=components)
    order = k.argsort(stable=True)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(len(k), device=k.device) - starts[k[order]]
    most = int(counts.max())
    place = torch.empty_like(k)
    place[order] = k[order] * most + rank
    return place, most


def _check_components(components: int) -> None:
    if components < 2:
        raise ValueError(
            f"components must be 2 or more, got {components}: one Gaussian is no mixture, "
            "StandardNormal and elbo or wasserstein(over=None) train it"
        )
