"""Importance-weighted NLL against exact likelihoods, and the units of the papers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from lvmlab.diagnostics import bits_per_dim, importance_weighted_nll, log_mean_exp, perplexity
from lvmlab.joint import Joint


def normal(loc, scale):
    return Independent(Normal(loc, scale), 1)


def linear_gaussian(widen=1.0):
    """x = 2 z + 0.5 noise, z ~ N(0, 1), and its exact posterior (widen = 1)."""
    prior = lambda: normal(torch.zeros(1), torch.ones(1))  # noqa: E731
    decoder = lambda z: normal(2 * z, torch.tensor(0.5))  # noqa: E731
    scale = torch.tensor(widen * math.sqrt(1 / 17))
    encoder = lambda x: normal(x * 2 / 4.25, scale)  # noqa: E731
    p = Joint("p", {"z": prior, "x|z": decoder})
    return p, Joint("q", {"x": None, "z|x": encoder})


def exact_nll(x):
    return -Normal(0.0, math.sqrt(4.25)).log_prob(x[:, 0]).numpy()


def test_importance_weighted_nll():
    log_weights = [-1.0, -2.0, -1.5, -0.5]
    assert -log_mean_exp(log_weights) == pytest.approx(1.098956, abs=1e-6)
    assert -np.mean(log_weights) == 1.25


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=9), st.floats(-1e3, 1e3))
def test_log_mean_exp_lies_between_mean_and_maximum_and_moves_with_a_constant(values, constant):
    found = log_mean_exp(values)
    assert np.mean(values) - 1e-9 <= found <= max(values) + 1e-9
    assert log_mean_exp(np.add(values, constant)) == pytest.approx(found + constant, abs=1e-6)


def test_log_mean_exp_takes_an_axis_and_weights_of_zero():
    weights = np.array([[1.0, 3.0], [2.0, 0.0]])
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(log_mean_exp(np.log(weights)), np.log([1.5, 1.5]))
        np.testing.assert_allclose(log_mean_exp(np.log(weights), axis=1), np.log([2, 1]))
    assert log_mean_exp([-np.inf, -np.inf]) == -np.inf


@pytest.mark.parametrize(("samples", "chunk"), [(1, 100), (20, 7), (20, 20), (3, 1)])
def test_the_exact_posterior_gives_the_exact_likelihood(float64, samples, chunk):
    p, q = linear_gaussian()
    x = torch.cat([torch.ones(1, 1), 3 * torch.randn(119, 1)])  # 120: more than one slice of 50
    nll = importance_weighted_nll(p, q, {"x": x}, samples, chunk)
    assert nll.shape == (120,)
    assert nll.dtype == np.float64
    np.testing.assert_allclose(nll, exact_nll(x), atol=1e-10)
    assert nll[0] == pytest.approx(1.760045, abs=1e-6)


def test_more_samples_fall_to_the_likelihood_from_above(float64):
    p, q = linear_gaussian(widen=3.0)
    x = torch.randn(400, 1) * math.sqrt(4.25)
    gaps = {s: importance_weighted_nll(p, q, {"x": x}, s) - exact_nll(x) for s in (1, 10, 500)}
    means = {s: gap.mean() for s, gap in gaps.items()}
    error = {s: gap.std() / math.sqrt(len(x)) for s, gap in gaps.items()}
    expected = math.log(1 / 3) + (9 - 1) / 2  # KL(q || posterior): both centred, scales 3 to 1
    assert abs(means[1] - expected) < 4 * error[1]
    assert means[1] - 4 * error[1] > means[10] > means[500] > -4 * error[500]
    assert means[500] < 0.05


def test_a_finite_latent_against_enumeration(float64):
    prior = torch.tensor([0.2, 0.3, 0.5])
    means = torch.tensor([[-2.0], [0.0], [1.0]])
    p = Joint("p", {"k": lambda: Categorical(prior), "x|k": lambda k: normal(means[k], 0.7)})
    q = Joint("q", {"x": None, "k|x": lambda x: Categorical(torch.ones(len(x), 3) / 3)})
    x = torch.linspace(-2, 2, 5)[:, None]
    mixture = MixtureSameFamily(Categorical(prior), normal(means, 0.7))
    runs = np.stack([importance_weighted_nll(p, q, {"x": x}, 2000, 500) for _ in range(10)])
    spread = 4 * runs.std(0) / math.sqrt(10) + 1e-3
    assert (np.abs(runs.mean(0) + mixture.log_prob(x).numpy()) < spread).all()


def test_a_model_without_latents_is_exact(float64):
    p = Joint("p", {"x": lambda: normal(torch.zeros(2), torch.ones(2))})
    q = Joint("q", {"x": None})
    x = torch.randn(7, 2)
    expected = -normal(torch.zeros(2), torch.ones(2)).log_prob(x).numpy()
    np.testing.assert_allclose(importance_weighted_nll(p, q, {"x": x}, 5, 2), expected)


def test_other_variables_travel_with_their_rows(float64):
    p, _ = linear_gaussian()
    shifted = lambda x, u: normal(x * 2 / 4.25 + u, math.sqrt(1 / 17))  # noqa: E731
    given = lambda: normal(torch.zeros(1), torch.ones(1))  # noqa: E731, known: not a weight
    q = Joint("q", {"x": None, "u": given, "z|x,u": shifted})
    x = torch.randn(60, 1)
    batch = {"x": x, "u": torch.zeros(60, 1), "index": torch.arange(60)}
    np.testing.assert_allclose(importance_weighted_nll(p, q, batch, 4), exact_nll(x), atol=1e-10)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Dropout(0.5), nn.Linear(1, 1), nn.BatchNorm1d(1))
        self.net[2].eval()  # frozen by hand: must stay so
        self.seen = []

    def forward(self, x):
        self.seen.append((self.net[0].training, torch.is_grad_enabled()))
        return normal(self.net(x), torch.tensor(1.0))


def test_modes_return_and_no_gradient_is_kept():
    p, encoder = linear_gaussian()[0], Encoder()
    q = Joint("q", {"x": None, "z|x": encoder})
    importance_weighted_nll(p, q, {"x": torch.randn(4, 1)}, samples=3)
    assert encoder.seen == [(False, False)]
    assert [m.training for m in encoder.net] == [True, True, False]
    assert p.training
    assert q.training
    assert all(parameter.grad is None for parameter in q.parameters())
    with pytest.raises(ValueError, match="has no value for"):
        importance_weighted_nll(p, Joint("q", {"x": None}), {"x": torch.randn(4, 1)})
    assert p.training


def test_weights_that_are_not_numbers_are_refused():
    p, _ = linear_gaussian()
    broken = lambda x: Independent(Normal(x + np.nan, 1.0, validate_args=False), 1)  # noqa: E731
    q = Joint("q", {"x": None, "z|x": broken}, validate=False)
    quiet = lambda z: Independent(Normal(z, 0.5, validate_args=False), 1)  # noqa: E731
    zero = lambda: Independent(Normal(torch.zeros(1), 1.0, validate_args=False), 1)  # noqa: E731
    p = Joint("p", {"z": zero, "x|z": quiet}, validate=False)
    with pytest.raises(ValueError, match="log_weights must hold no NaN"):
        importance_weighted_nll(p, q, {"x": torch.zeros(2, 1)}, samples=2)


def test_bpd_from_nats():
    assert bits_per_dim(7346.251078, 3072) == pytest.approx(3.45, abs=1e-9)
    assert bits_per_dim(690.152785, 784) == pytest.approx(1.27, abs=1e-9)
    assert bits_per_dim(0.0, 3072, bins=256) == pytest.approx(8.0)  # uniform density on [0, 1]^D
    np.testing.assert_allclose(bits_per_dim([0.0, 784 * math.log(2)], 784), [0, 1])
    # one model, three scalings of the same 8-bit pixels: one number
    uniform = {1: 784 * math.log(256), 256: 0.0, 128: 784 * math.log(2)}
    assert [bits_per_dim(nll, 784, bins) for bins, nll in uniform.items()] == [8.0, 8.0, 8.0]


def test_ppl_from_nll():
    printed = {
        (113.46, 148.18): 22.699138,
        (67.46, 19.53): 22.698888,
        (34.66, 4.6): 22.712137,
        (228.58, 9.98): 99.357420,
        (215.02, 18.17): 74.150660,
        (337.58, 21.95): 109.292797,
    }
    for (nll, value), tokens in printed.items():
        assert nll / math.log(value) == pytest.approx(tokens, abs=1e-6)
        assert perplexity(nll, tokens) == pytest.approx(value, abs=1e-5)
        assert perplexity(1000 * nll, 1000 * tokens) == pytest.approx(value, abs=1e-5)
    assert perplexity(1e6, 1) == math.inf
    assert perplexity([math.log(2), 5 * math.log(2)], [1, 2]) == pytest.approx(4)


P, Q = linear_gaussian()
DATA = {"x": torch.zeros(3, 1)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: importance_weighted_nll(P, Q, {}), "batch must hold at least one variable"),
        (lambda: importance_weighted_nll(P, Q, {"x": torch.zeros(0, 1)}), "shape \\(0, 1\\)"),
        (lambda: importance_weighted_nll(P, Q, {"x": DATA["x"] + np.nan}), r"batch\['x'\].*3 NaN"),
        (lambda: importance_weighted_nll(P, Q, {"x": np.zeros((3, 1))}), "is ndarray"),
        (lambda: importance_weighted_nll(P, Q, {"x": torch.tensor(1.0)}), "one row for each"),
        (
            lambda: importance_weighted_nll(P, Q, {**DATA, "u": torch.zeros(2)}),
            "batch must have one length",
        ),
        (lambda: importance_weighted_nll(P, Q, DATA, samples=0), "samples must be"),
        (lambda: importance_weighted_nll(P, Q, DATA, chunk=0), "chunk must be"),
        (lambda: log_mean_exp([]), "log_weights must hold at least one"),
        (lambda: log_mean_exp([np.nan]), "log_weights must hold no NaN"),
        (lambda: log_mean_exp([np.inf]), "log_weights must hold no NaN and no .infinity"),
        (lambda: bits_per_dim(np.nan, 3), "nats must be finite"),
        (lambda: bits_per_dim(1.0, 0), "dimensions must be"),
        (lambda: bits_per_dim(1.0, 3, bins=0), "bins must be a positive number"),
        (lambda: perplexity([1.0, 2.0], 3), "nll and tokens must both be totals"),
        (lambda: perplexity(1.0, 0), "tokens must be counts with a positive sum"),
        (lambda: perplexity(np.inf, 1), "nll must be finite"),
    ],
)
def test_bad_likelihood_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
