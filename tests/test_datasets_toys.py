"""Toy mixtures against SciPy, closed forms and the identities of the course."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from lvmlab.datasets import toys


def scipy_log_prob(mixture, x):
    densities = [
        w * stats.multivariate_normal(m, s**2 * np.eye(mixture.dim)).pdf(x)
        for w, m, s in zip(
            mixture.weights.numpy(), mixture.means.numpy(), mixture.scale.numpy(), strict=True
        )
    ]
    return np.log(np.sum(densities, 0))


@pytest.mark.parametrize(
    "mixture",
    [
        toys.mixture_1d(),
        toys.mixture_1d((0.0, 2.0, 5.0), (0.3, 1.0, 0.5), (0.2, 0.5, 0.3)),
        toys.five_blobs(),
        toys.five_blobs(20, centre=False),
    ],
)
def test_log_prob_agrees_with_scipy(mixture):
    x = mixture.sample(200, seed=3, dtype=torch.float64)["x"]
    expected = scipy_log_prob(mixture, x.numpy())
    np.testing.assert_allclose(mixture.log_prob(x).numpy(), expected, rtol=1e-10)
    np.testing.assert_allclose(
        mixture.log_prob(x.float()).numpy(), expected, rtol=1e-4, atol=1e-3 * mixture.dim
    )


def test_2d_gmm_anchor_entropy():
    for dim, expected in ((2, 1.674726), (20, 2.262321)):
        assert toys.five_blobs(dim).entropy_ceiling() == pytest.approx(expected, abs=1e-6)
    estimate, error = toys.five_blobs(2).entropy_estimate(20_000)
    assert estimate + 5 * error < toys.five_blobs(2).entropy_ceiling()  # the blobs overlap
    apart = toys.GaussianMixture([0.2] * 5, [[10 * i, 0.0] for i in range(5)], 0.25)
    estimate, error = apart.entropy_estimate(20_000)
    assert abs(estimate - apart.entropy_ceiling()) < 4 * error + 1e-3


def test_two_humps_have_the_entropy_and_posterior_of_the_lesson():
    humps = toys.mixture_1d()
    assert humps.entropy() == pytest.approx(1.358512, abs=1e-6)
    x = torch.linspace(-3, 3, 101, dtype=torch.float64)[:, None]
    torch.testing.assert_close(humps.posterior(x)[:, 1], torch.sigmoid(8 * x[:, 0]))
    information = humps.entropy() - 0.5 * math.log(2 * math.pi * math.e * 0.25)
    assert information == pytest.approx(0.632720, abs=1e-6)


@pytest.mark.parametrize("scale", [0.5, 0.01, (0.05, 3.0)])
def test_entropy_by_quadrature_agrees_with_adaptive_quadrature(scale):
    mixture = toys.mixture_1d((-1.0, 1.5), scale, (0.3, 0.7))

    def integrand(x):
        p = np.exp(scipy_log_prob(mixture, np.array([x])))
        return -p * np.log(p) if p > 0 else 0.0

    points = sorted(m + k * s for m, s in zip((-1, 1.5), np.broadcast_to(scale, 2), strict=True)
                    for k in (-6, 0, 6))  # fmt: skip
    with np.errstate(divide="ignore"):
        expected = integrate.quad(integrand, -40, 40, points=points, limit=500)[0]
    assert mixture.entropy() == pytest.approx(expected, abs=1e-7)
    estimate, error = mixture.entropy_estimate(50_000)
    assert abs(estimate - expected) < 4 * error


def test_samples_follow_the_mixture():
    mixture = toys.GaussianMixture(
        [0.1, 0.6, 0.3], [[0.0, 3.0], [5.0, 0.0], [-4.0, 1.0]], [1, 2, 3]
    )
    draw = mixture.sample(30_000, seed=0, dtype=torch.float64)
    assert draw["index"].tolist()[:3] == [0, 1, 2]
    assert draw["label"].dtype == torch.long
    for k in range(3):
        mine = draw["x"][draw["label"] == k]
        share = len(mine) / 30_000
        assert share == pytest.approx(float(mixture.weights[k]), abs=0.012)
        spread = float(mixture.scale[k])
        assert torch.allclose(mine.mean(0), mixture.means[k], atol=4 * spread / len(mine) ** 0.5)
        assert mine.std(0).mean() == pytest.approx(spread, rel=0.05)
    p = stats.kstest(
        stats.norm.cdf((draw["x"][draw["label"] == 1][:, 0] - 5) / 2), "uniform"
    ).pvalue
    assert p > 1e-4


def test_seeds_and_generators():
    mixture = toys.five_blobs()
    first, again = mixture.sample(5, seed=1)["x"], mixture.sample(5, seed=1)["x"]
    assert torch.equal(first, again)
    assert first.dtype == torch.get_default_dtype()
    draws = [mixture.sample(5, generator=torch.Generator().manual_seed(1))["x"] for _ in range(2)]
    assert torch.equal(*draws)
    assert not torch.equal(draws[0], first)  # a seed of the toys is not one of torch's streams
    state = torch.get_rng_state()
    mixture.sample(5, seed=2)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_five_blobs_are_those_of_the_papers():
    expected = [(0, 0), (1, 0), (0.309, 0.951), (-0.809, 0.588), (-0.809, -0.588)]
    np.testing.assert_allclose(toys.five_blobs().means.numpy(), expected, atol=5e-4)
    wide = toys.five_blobs(20).means
    np.testing.assert_allclose(wide[:, :2].numpy(), expected, atol=5e-4)
    line = np.linspace(-50, 50, 100).reshape(5, 20)
    np.testing.assert_allclose(wide[:, 2:].numpy(), line[:, 2:])
    assert len(toys.five_blobs(centre=False).means) == 4


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: toys.GaussianMixture([0.5, 0.6], [[0.0], [1.0]], 1.0), "weights"),
        (lambda: toys.GaussianMixture([1.5, -0.5], [[0.0], [1.0]], 1.0), "weights"),
        (lambda: toys.GaussianMixture([1.0], [0.0, 1.0], 1.0), "means"),
        (lambda: toys.GaussianMixture([1.0], [[math.nan]], 1.0), "means"),
        (lambda: toys.GaussianMixture([0.5, 0.5], [[0.0], [1.0]], [1.0, -1.0]), "scale"),
        (lambda: toys.GaussianMixture([0.5, 0.5], [[0.0], [1.0]], 0.0), "scale"),
        (lambda: toys.five_blobs(3), "dim"),
        (lambda: toys.five_blobs().entropy(), "one dimension"),
        (lambda: toys.five_blobs().log_prob(torch.zeros(4, 3)), r"\(\.\.\., 2\)"),
        (lambda: toys.five_blobs().sample(0), "size"),
        (lambda: toys.five_blobs().sample(1, 0, torch.Generator()), "seed or generator"),
    ],
)
def test_bad_input_is_named(make, named):
    with pytest.raises(ValueError, match=named):
        make()
