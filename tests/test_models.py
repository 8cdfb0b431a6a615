"""Assemblies give the joints they promise; mixtures on the line draw with the right gradient."""

import math

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal

from lvmlab.conditionals import Mixture
from lvmlab.models import MixtureOfNormals, dense_gaussian, mixtures_1d

LOGITS, LOC = torch.tensor([0.3, -0.2, 0.9]), torch.tensor([-1.0, 0.5, 2.0])
SCALE = torch.tensor([0.4, 0.8, 0.3])


def test_dense_gaussian_draws_and_scores_with_its_floor():
    p, q = dense_gaussian(3, 2, (7, 5), floor=0.5)
    pairs = q.draw({"x": torch.randn(11, 3)})
    assert pairs.values["z"].shape == (11, 2) and list(pairs.log_prob) == ["z|x"]
    assert p.score(pairs.values).nats().shape == (11,)
    assert (pairs.distributions["z|x"].variance.sqrt() >= 0.5).all()
    assert [m.out_features for m in p.modules() if hasattr(m, "out_features")] == [7, 5, 6]


def test_dense_gaussian_scores_the_data_under_a_density_that_is_known():
    density = Mixture(torch.tensor([[0.0, 1.0], [2.0, 0.0]]), 0.3)
    _, q = dense_gaussian(2, 1, 4, data_density=density)
    x = torch.randn(6, 2)
    torch.testing.assert_close(q.draw({"x": x}).log_prob["x"], density().log_prob(x))


def test_mixture_of_normals_has_the_density_of_the_mixture_of_torch():
    here = MixtureOfNormals(LOGITS, LOC, SCALE)
    torchs = MixtureSameFamily(Categorical(logits=LOGITS), Normal(LOC, SCALE))
    x = torch.linspace(-3, 4, 50)
    torch.testing.assert_close(here.log_prob(x[:, None]), torchs.log_prob(x))
    torch.testing.assert_close(here.mean, torchs.mean[None])


def test_mixture_of_normals_draws_what_its_density_says():
    here = MixtureOfNormals(LOGITS, LOC, SCALE)
    x = here.sample((40_000,))
    assert x.shape == (40_000, 1)
    weights = LOGITS.softmax(0)
    mean = (weights * LOC).sum()
    variance = (weights * (SCALE**2 + LOC**2)).sum() - mean**2
    assert abs(x.mean() - mean) < 5 * math.sqrt(variance / 40_000)
    assert x.var() == pytest.approx(float(variance), rel=0.03)
    below = (weights * Normal(LOC, SCALE).cdf(torch.tensor(0.7))).sum()
    assert (x < 0.7).float().mean() == pytest.approx(float(below), abs=0.012)


def test_mixture_draws_carry_the_gradient_of_their_mean_square():
    """d E[z^2] for all parameters in closed form: E[z^2] = sum_k w_k (m_k^2 + s_k^2)."""
    given = [v.clone().requires_grad_() for v in (LOGITS, LOC, SCALE)]
    logits, loc, scale = given
    exact = torch.autograd.grad((logits.softmax(0) * (loc**2 + scale**2)).sum(), given)
    found = []
    for seed in range(5):
        torch.manual_seed(seed)
        estimate = MixtureOfNormals(*given).rsample((40_000,)).square().mean()
        found.append(torch.cat(torch.autograd.grad(estimate, given)))
    spread = torch.stack(found).std(0) / math.sqrt(5)
    gap = (torch.stack(found).mean(0) - torch.cat(exact)).abs()
    assert (gap < 6 * spread + 1e-3).all() and (spread < 0.1).all()


def test_mixtures_1d_scores_every_factor_and_reaches_every_weight():
    p, q = mixtures_1d(components=4, hidden=3)
    pairs = q.draw({"x": torch.randn(20, 1)})
    assert list(pairs.log_prob) == ["x", "z|x"] and pairs.values["z"].shape == (20, 1)
    loss = -(p.score(pairs.values).nats() + pairs.nats()).mean()
    loss.backward()
    weights = [*p.parameters(), *q.parameters()]
    assert all(w.grad is not None and w.grad.abs().sum() > 0 for w in weights)
    fixed, _ = mixtures_1d(learned_priors=False)
    torch.testing.assert_close(fixed.draw(size=3).log_prob["z"].shape, torch.Size([3]))
    assert not list(fixed.conditionals["z"].parameters())


@pytest.mark.parametrize(
    ("given", "word"), [({"components": 0}, "components"), ({"floor": 0}, "floor")]
)
def test_mixtures_1d_refuses_what_makes_no_mixture(given, word):
    with pytest.raises(ValueError, match=word):
        mixtures_1d(**given)
