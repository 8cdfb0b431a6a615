"""Distributions of ours against torch's, against sums to one, and the identities that name them."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Independent, Normal, Uniform

from lvmlab import distributions as D
from lvmlab.conditionals import Bernoulli, Gaussian, Mixture, VampPrior
from lvmlab.diagnostics import bits_per_dim

pytestmark = pytest.mark.usefixtures("float64")


def test_normal_is_torchs_normal():
    loc, scale, x = torch.randn(4, 3), torch.rand(4, 3) + 0.1, torch.randn(4, 3)
    torch.testing.assert_close(D.Normal(loc, scale).log_prob(x), Normal(loc, scale).log_prob(x))
    torch.manual_seed(0)
    ours = D.Normal(loc, scale).rsample((2,))
    torch.manual_seed(0)
    torch.testing.assert_close(ours, Normal(loc, scale).rsample((2,)))


def test_normal_draws_inside_vmap_where_torchs_refuses():
    def draw(loc, kind):
        return kind(loc, torch.ones_like(loc), validate_args=False).rsample()

    locs = torch.zeros(5, 3)
    noise = torch.vmap(lambda loc: draw(loc, D.Normal), randomness="different")(locs)
    assert len(noise.unique()) == 15
    with pytest.raises(RuntimeError):
        torch.vmap(lambda loc: draw(loc, Normal), randomness="different")(locs)


def test_reparameterisation():
    mu, sigma = torch.tensor(0.7, requires_grad=True), torch.tensor(0.4, requires_grad=True)
    estimates = []
    for seed in range(20):
        torch.manual_seed(seed)
        value = D.Normal(mu.expand(20_000), sigma.expand(20_000)).rsample().square().mean()
        estimates.append([v.item() for v in torch.autograd.grad(value, [mu, sigma])])
    means, errors = np.mean(estimates, 0), np.std(estimates, 0, ddof=1) / math.sqrt(20)
    assert (np.abs(means - [1.4, 0.8]) < 4 * errors).all()


def test_delta():
    delta = D.Delta(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert delta.batch_shape == (2,)
    assert delta.event_shape == (2,)
    same = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    assert delta.log_prob(same).tolist() == [0.0, -math.inf]
    assert torch.equal(delta.rsample(), delta.value)
    assert D.Delta(torch.tensor([1, 2])).log_prob(torch.tensor([1, 1])).tolist() == [0, -math.inf]


def test_discretised_logistic():
    pixel = D.DiscretisedLogistic(torch.tensor(0.1), torch.tensor(0.2))
    assert pixel.log_prob(torch.tensor(0.0)).item() == pytest.approx(-4.686859, abs=1e-6)
    grid = torch.arange(256) / 127.5 - 1
    for loc, scale in [(0.1, 0.2), (-0.9, 0.01), (0.99, 1.5)]:
        total = D.DiscretisedLogistic(torch.tensor(loc), torch.tensor(scale)).log_prob(grid).exp()
        assert total.sum().item() == pytest.approx(1.0, abs=1e-9)


def test_discretised_logistic_far_tail_is_finite_and_draws_match_probabilities():
    far = D.DiscretisedLogistic(torch.tensor(-1.0), torch.tensor(0.004)).log_prob(torch.tensor(0.6))
    assert -500 < far.item() < -350
    pixel = D.DiscretisedLogistic(torch.full((40_000,), 0.1), 0.2)
    draws = pixel.sample()
    grid = torch.arange(256) / 127.5 - 1
    counts = torch.bincount(((draws + 1) * 127.5).round().long(), minlength=256)
    expected = D.DiscretisedLogistic(torch.tensor(0.1), 0.2).log_prob(grid).exp() * 40_000
    kept = expected > 20
    assert (
        stats.chisquare(counts[kept], expected[kept] * counts[kept].sum() / expected[kept].sum())[1]
        > 1e-3
    )


def test_dequantisation_bound():
    class Triangle(Uniform):  # p(y) = 2 y on [0, 1]
        def log_prob(self, value):
            return (2 * value).log()

    triangle = Triangle(torch.zeros(()), torch.ones(()))
    one_bin = D.Dequantised(triangle.expand((200_000,)), levels=1)
    bound = one_bin.log_prob(torch.zeros(200_000))
    error = bound.std() / math.sqrt(200_000)
    assert abs(bound.mean().item() + 0.306853) < 4 * error.item()
    assert bound.mean() < 0.0  # log P of the only bin
    uniform = Independent(Uniform(torch.zeros(7), torch.ones(7)), 1)
    exact = D.Dequantised(uniform.expand((1,)), levels=256).log_prob(torch.full((1, 7), 3.0))
    assert bits_per_dim(-exact.item(), 7) == pytest.approx(8.0)  # constant density: no gap


def test_bernoulli_likelihood():
    logits = torch.tensor([[2.0, -1.0, 0.5]])
    pixels = Bernoulli(lambda z: logits)(torch.zeros(1))
    nll = -pixels.log_prob(torch.tensor([[1.0, 0.0, 1.0]])).item()
    assert nll == pytest.approx(0.914267, abs=1e-6)


def test_gmm_log_density():
    prior = Mixture(
        torch.tensor([[-1.0], [2.0]]), torch.tensor([0.5, 1.0]), torch.tensor([0.3, 0.7])
    )()
    zero = torch.zeros(1, 1)
    assert prior.log_prob(zero).item() == pytest.approx(-2.656574, abs=1e-6)
    parts = prior.component_distribution.log_prob(zero) + prior.mixture_distribution.logits
    assert parts.softmax(-1)[0].item() == pytest.approx(0.461538, abs=1e-6)


def test_vampprior_normalised():
    def encoder(u):
        return Independent(Normal(u, 0.5), 1)

    prior = VampPrior(encoder, torch.tensor([[-1.0], [1.0]]))()
    densities = prior.log_prob(torch.tensor([[0.0], [1.0]])).exp()
    assert densities.tolist() == pytest.approx([0.107982, 0.399076], abs=1e-6)


def test_gaussian_kl():
    q = Normal(0.5, 0.8)
    kl = torch.distributions.kl_divergence(q, Normal(0.0, 1.0)).item()
    assert kl == pytest.approx(0.168144, abs=1e-6)
    assert D.Normal(torch.tensor(0.5), torch.tensor(0.8)).entropy().item() == pytest.approx(
        1.195795, abs=1e-6
    )


def test_amim_unbounded_below():
    """The floor of a Gaussian is what keeps the entropy term from falling without limit."""
    wide = Gaussian(lambda x: torch.zeros(1, 16), scale=1.0)
    narrow = Gaussian(lambda x: torch.zeros(1, 16), scale=0.1)
    change = (narrow(torch.zeros(1)).entropy() - wide(torch.zeros(1)).entropy()) / 2
    assert change.item() == pytest.approx(-18.420681, abs=1e-6)
    floored = Gaussian(lambda x: torch.full((1, 4), -1e9), floor=0.05)(torch.zeros(1))
    assert floored.stddev.min().item() == pytest.approx(0.05)
