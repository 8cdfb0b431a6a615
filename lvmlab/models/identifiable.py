"""Nonlinear ICA: the same p(u) p(z|u) p(x|z), with u given (iVAE), learned (VaDE), or a flow.

Both are trained by the same `elbo`. What makes them differ is q: iVAE's data hold u, VaDE's do not.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent
from torch.nn import functional as F

from lvmlab import distributions as D
from lvmlab.conditionals import Gaussian, Mixture
from lvmlab.flows import Autoregressive, Bijection, Chain, Flow, Shuffle
from lvmlab.joint import Conditional, Joint
from lvmlab.networks import MLP

STARTS = ("xavier", "spread")


class Leaky(nn.LeakyReLU):
    """A leaky ReLU of slope 0.1, as everywhere in the VaDE/iVAE paper."""

    def __init__(self) -> None:
        super().__init__(0.1)


class Weights(nn.Module):
    """p(u): the weights of a mixture."""

    def __init__(self, mixture: Mixture):
        super().__init__()
        self.mixture = mixture

    def forward(self) -> Distribution:
        return torch.distributions.Categorical(logits=self.mixture.logits, validate_args=False)


class Component(nn.Module):
    """p(z|u) = N(mean_u, scale_u^2), diagonal: the table of a mixture, asked for u (B,)."""

    def __init__(self, mixture: Mixture):
        super().__init__()
        self.mixture = mixture

    def forward(self, u: Tensor) -> Distribution:
        rows = F.one_hot(u, len(self.mixture.means)).to(self.mixture.means)
        scale = (rows @ self.mixture.log_scales).exp()
        normal = D.Normal(rows @ self.mixture.means, scale, validate_args=False)
        return Independent(normal, 1, validate_args=False)


class Responsibilities(nn.Module):
    """q(u|z) = p(u|z): what a mixture says about the component of z (B, D).

    With the one z that an estimator draws, it is the q(u|x) that makes VaDE's last term,
    KL(q(u|x) || p(u|z)), zero (VaDE/iVAE paper, eq. 6; `vade-single-sample-kl-zero`).
    """

    def __init__(self, mixture: Mixture):
        super().__init__()
        self.mixture = mixture

    def forward(self, z: Tensor) -> Distribution:
        mixture = self.mixture
        parts = D.Normal(mixture.means, mixture.log_scales.exp(), validate_args=False)
        nats = mixture.logits + parts.log_prob(z.unsqueeze(-2)).sum(-1)
        return torch.distributions.Categorical(logits=nats, validate_args=False)


def bayes_optimal(log_posteriors: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The q(u|x) that minimises E_q(z|x) KL(q(u|x) || p(u|z)), and that minimum in nats.

    log_posteriors: (S, B, K), log p(u|z_s) of S draws or values of z for each of B rows; weights:
    (S, B) summing to 1 over S, q(z_s|x) when the z are all values there are; even ones when None.
    Gives (B, K) probabilities, proportional to exp(E log p(u|z)), and minus the log of their
    normaliser, (B,): 0 when S is 1 (VaDE/iVAE paper, section 3; `vade-bayes-optimal-u`).
    """
    if weights is None:
        mean = log_posteriors.mean(0)
    else:
        mean = (weights.unsqueeze(-1) * log_posteriors).sum(0)
    normaliser = mean.logsumexp(1, keepdim=True)
    return (mean - normaliser).exp(), -normaliser[:, 0]


class Labelled(nn.Module):
    """A network that also gets a label: `Labelled(MLP(5 + 20, 50, 10), 20)(x, u)`.

    The last argument, whole numbers (B,) below `labels`, goes in as a row of zeros and a one.
    """

    def __init__(self, network: Callable[..., Tensor], labels: int):
        super().__init__()
        self.network, self.labels = network, labels

    def forward(self, *given: Tensor) -> Tensor:
        *parents, u = given
        one_hot = F.one_hot(u, self.labels).to(torch.get_default_dtype())
        return self.network(*parents, one_hot)


def mixture_prior(components: int, dim: int, start: str = "xavier") -> Mixture:
    """A learned mixture of diagonal Gaussians over z (dim,), for p(z) and for tables p(z|u).

    start: "xavier", means and log-variances Xavier-uniform as in the paper (section 4.1), which
    puts all components within sqrt(6 / (components + dim)) of the origin; "spread", means N(0, 1)
    and all scales 1. Weights start even. Raises `ValueError` for sizes below 1 and other starts.
    """
    if components < 1 or dim < 1:
        raise ValueError(f"components and dim must be 1 or more, got {components} and {dim}")
    if start not in STARTS:
        raise ValueError(f"start must be one of {', '.join(STARTS)}, got {start!r}")
    means, log_variances = torch.zeros(2, components, dim)
    if start == "xavier":
        nn.init.xavier_uniform_(means)
        nn.init.xavier_uniform_(log_variances)
    else:
        nn.init.normal_(means)
    return Mixture(means, (0.5 * log_variances).exp(), learned=True)


def dense_pair(
    data_dim: int,
    latent_dim: int,
    hidden: Sequence[int] = (50, 50),
    scale: float | str = 0.1,
    labels: int | None = None,
) -> tuple[Gaussian, Gaussian]:
    """p(x|z) and q(z|x) with leaky ReLUs and Xavier-uniform weights, the nets of synthetic data.

    scale: the standard deviation of p(x|z), or "learned". labels: when given, the encoder is
    q(z|x, u) with so many values of u.
    """
    decoder = MLP(latent_dim, *hidden, data_dim, activation=Leaky)
    encoder = MLP(data_dim + (labels or 0), *hidden, 2 * latent_dim, activation=Leaky)
    for network in (decoder, encoder):
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
    asked = encoder if labels is None else Labelled(encoder, labels)
    return Gaussian(decoder, scale=scale), Gaussian(asked)


def ivae(
    prior: Conditional,
    decoder: Conditional,
    encoder: Conditional,
    sees_u: bool = False,
    weights: Conditional | None = None,
) -> tuple[Joint, Joint]:
    """iVAE, p(z|u) p(x|z) and q(x, u) q(z|x) or q(z|x, u), over data that hold x and u.

    prior: p(z|u), such as `Component(mixture_prior(20, 5))` or `Gaussian(Labelled(network, 20))`.
    Its `elbo` bounds log p(x|u) (eq. 3, whose printed left side is p(x|u)). With `weights`, a p(u)
    such as `Weights(mixture)` or `Proportions(20)`, it bounds log p(x, u), which eq. 4 leaves out
    (`ivae-elbo-vs-vade`). With sees_u latents cannot be had without u: say so beside every score.
    """
    known = {} if weights is None else {"u": weights}
    p = Joint("p", {**known, "z|u": prior, "x|z": decoder})
    q = Joint("q", {"x": None, "u": None, "z|x,u" if sees_u else "z|x": encoder})
    return p, q


def vade(
    prior: Conditional, decoder: Conditional, encoder: Conditional, labels: bool = False
) -> tuple[Joint, Joint]:
    """VaDE, p(u) p(z|u) p(x|z) and q(x) q(z|x) q(u|z), over data that hold x alone.

    Without labels u is summed out: p(z) is the mixture itself, and `elbo` is the estimator of
    eq. 6, log p(x|z) + log p(z) - log q(z|x), from one z (`vade-single-sample-kl-zero`). With
    labels u is drawn from q(u|z) = p(u|z); the bound is the same number for every u, because
    p(u) p(z|u) / p(u|z) = p(z). A prior without components, `StandardNormal(d)`, makes a plain VAE.
    Raises `ValueError` for labels with a prior that is no `Mixture`.
    """
    if not labels:
        p = Joint("p", {"z": prior, "x|z": decoder})
        return p, Joint("q", {"x": None, "z|x": encoder})
    if not isinstance(prior, Mixture):
        raise ValueError(f"labels need a Mixture as prior, got {type(prior).__name__}")
    p = Joint("p", {"u": Weights(prior), "z|u": Component(prior), "x|z": decoder})
    q = Joint("q", {"x": None, "z|x": encoder, "u|z": Responsibilities(prior)})
    return p, q


def gmm_flow(
    dim: int,
    components: int = 50,
    layers: int = 10,
    hidden: Sequence[int] = (50,),
    start: str = "xavier",
) -> tuple[Joint, Joint]:
    """p(x) by an autoregressive flow whose base is a learned mixture; q(x) is the data.

    Its objective is `marginal_likelihood`; latents are `p.factors["x"].bijection(x)[0]`. Between
    two layers the dimensions are shuffled, so torch's generator must be seeded before. log p(x) =
    log p(z) + log|det dz/dx|, where eq. D.4 multiplies (VaDE/iVAE paper, appendix D, which has 10
    layers and 50 components and does not tell hidden sizes; `gmm-flow-D.4`).
    Raises `ValueError` for sizes below 1.
    """
    if layers < 1:
        raise ValueError(f"layers must be a whole number from 1 up, got {layers}")
    parts: list[Bijection] = [Autoregressive(dim, hidden)]
    for _ in range(layers - 1):
        parts += [Shuffle(dim), Autoregressive(dim, hidden)]
    base = mixture_prior(components, dim, start)
    p = Joint("p", {"x": Flow(Chain(*parts), (dim,), base)})
    return p, Joint("q", {"x": None})
