"""Information of posteriors: exact for categories, estimated with its ceiling otherwise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmlab.diagnostics import (
    categorical_information,
    entropy,
    gaussian_information,
    kl_divergence,
    minibatch_information,
    mutual_information,
)

F1 = np.array([[0.20, 0.05], [0.10, 0.15], [0.05, 0.25]])


def gaussian_posteriors(rows, information, dim=4, seed=0):
    """Posteriors N(mean, scale squared) whose aggregate is N(0, I), with a known information."""
    rng = np.random.default_rng(seed)
    scale = np.full((rows, dim), math.exp(-information / dim))
    mean = rng.standard_normal((rows, dim)) * np.sqrt(1 - scale**2)
    return mean + scale * rng.standard_normal((rows, dim)), mean, scale


def log_density_matrix(z, mean, scale):
    difference = (z[:, None] - mean) / scale
    return (-0.5 * difference**2 - np.log(scale) - 0.5 * math.log(2 * math.pi)).sum(-1)


def test_mi_from_posteriors():
    found = categorical_information(F1 / F1.sum(1, keepdims=True))
    assert found.information == pytest.approx(0.147866, abs=1e-6)
    assert found.aggregated_kl == pytest.approx(0.003956, abs=1e-6)


def test_aggkl_uniform_prior():
    aggregate = np.array([0.5, 0.3, 0.2])
    found = categorical_information(np.tile(aggregate, (4, 1)))
    assert found.aggregated_kl == pytest.approx(0.068959, abs=1e-6)
    assert found.aggregated_kl == pytest.approx(math.log(3) - found.entropy, abs=1e-12)
    assert found.information == 0
    table_2 = {  # CoLLike: K, aggregated KL, information, slack log K - aggregated KL - information
        "CIFAR CoLLike": (10, 0.01, 2.20, 0.092585),
        "CIFAR MaL": (10, 0.74, 1.50, 0.062585),
        "MNIST CoLLike": (10, 0.01, 1.95, 0.342585),
        "MNIST MaL": (10, 1.61, 0.58, 0.112585),
        "AG CoLLike": (4, 0.00, 1.32, 0.066294),
    }
    for k, kl, information, slack in table_2.values():
        assert math.log(k) - kl - information == pytest.approx(slack, abs=1e-6)
        assert slack >= -0.01


def test_elbo_surgery():
    data, prior = np.array([0.5, 0.3, 0.2]), np.array([0.6, 0.4])
    encoder = np.array([[0.8, 0.2], [0.3, 0.7], [0.5, 0.5]])
    likelihood = np.array([[0.6, 0.2], [0.2, 0.5], [0.2, 0.3]])  # p(x|z), rows x
    rate = sum(data[i] * kl_divergence(encoder[i], prior) for i in range(3))
    found = categorical_information(encoder, prior, weights=data)
    assert rate == pytest.approx(0.104976, abs=1e-6)
    assert found.information == pytest.approx(0.104769, abs=1e-6)
    assert found.aggregated_kl == pytest.approx(0.000208, abs=1e-6)
    assert found.information + found.aggregated_kl == pytest.approx(rate, abs=1e-12)
    assert mutual_information(data[:, None] * encoder) == pytest.approx(
        found.information, abs=1e-12
    )
    reconstruction = (data[:, None] * encoder * np.log(likelihood)).sum()
    assert reconstruction == pytest.approx(-0.937025, abs=1e-6)
    bound = reconstruction - found.information - found.aggregated_kl
    assert bound == pytest.approx(-1.042002, abs=1e-6)


def test_one_category_carries_nothing():
    assert categorical_information(np.ones((2, 1))) == (0, 0, 0, 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 6))
def test_categorical_information_keeps_its_bounds_and_forgets_names(seed, rows, categories):
    rng = np.random.default_rng(seed)
    posteriors = rng.dirichlet(np.full(categories, 0.3), rows)
    weights = rng.integers(1, 5, rows)
    found = categorical_information(posteriors, weights=weights)
    entropies = weights / weights.sum() @ [entropy(row) for row in posteriors]
    assert found.information == pytest.approx(found.entropy - entropies, abs=1e-10)
    assert -1e-12 <= found.information <= found.entropy + 1e-12
    assert found.information + found.aggregated_kl <= found.ceiling + 1e-12
    assert found.ceiling == math.log(categories)
    repeated = categorical_information(np.repeat(posteriors, weights, axis=0))
    np.testing.assert_allclose(repeated, found, atol=1e-10)
    renamed = categorical_information(posteriors[:, rng.permutation(categories)], weights=weights)
    np.testing.assert_allclose(renamed, found, atol=1e-10)


def test_balanced_certain_posteriors_reach_the_ceiling_and_equal_ones_give_zero():
    found = categorical_information(np.tile(np.eye(5), (3, 1)))
    assert found.information == pytest.approx(found.ceiling)
    assert categorical_information(np.full((7, 3), 1 / 3)).information == 0
    excluded = categorical_information(np.eye(2), prior=[1.0, 0.0])
    assert excluded.aggregated_kl == math.inf


@pytest.mark.slow
@pytest.mark.parametrize("size", [500, 10_000])
def test_mi_estimator_ceiling(size):
    expected = {500: 6.214608, 10_000: 9.210340}[size]
    z = 100.0 * np.arange(size)[:, None]
    found = gaussian_information(z, z, np.ones_like(z))
    assert found == pytest.approx((expected, expected), abs=1e-6)
    if size == 500:
        matrix = log_density_matrix(z, z, np.ones_like(z))
        assert minibatch_information(matrix) == pytest.approx((expected, expected), abs=1e-6)
        apart = minibatch_information(matrix, leave_own_out=True)
        assert apart.information > 1000  # over-estimates without limit: true is log 500 here
        assert apart.ceiling == math.inf


@pytest.mark.slow
def test_minibatch_information_reads_a_known_information_between_its_two_bounds():
    true, seeds = 2.08, 20
    low, high, small = [], [], []
    for seed in range(seeds):
        z, mean, scale = gaussian_posteriors(1024, true, seed=seed)
        low.append(gaussian_information(z, mean, scale).information)
        high.append(gaussian_information(z, mean, scale, leave_own_out=True).information)
        small.append(gaussian_information(z, mean, scale, batch_size=32).information)
    spread = 4 * np.std(low) / math.sqrt(seeds)
    assert abs(np.mean(low) - true) < spread + 0.05
    assert np.mean(low) < np.mean(high)
    assert np.mean(high) > true - spread
    assert np.mean(small) < np.mean(low) - 0.2  # batches of 32 read much less


def test_rounding_does_not_pass_the_ceiling():
    for size in range(2, 200):
        z = 1000.0 * np.arange(size)[:, None] / 7
        found = gaussian_information(z, z, np.full_like(z, 0.3))
        assert found.information <= found.ceiling
        assert found.information == pytest.approx(found.ceiling)


def test_small_batches_cannot_read_six_nats():
    z, mean, scale = gaussian_posteriors(3200, 6.0)
    read = {m: gaussian_information(z, mean, scale, m) for m in (32, 50, 1000)}
    assert [found.ceiling for found in read.values()] == [math.log(m) for m in read]
    # 3.4, 3.8 and 5.5 in an independent computation with a true 6
    assert [found.information for found in read.values()] == pytest.approx([3.4, 3.8, 5.5], abs=0.1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([None, 2, 5, 20]), st.booleans())
def test_gaussian_information_is_minibatch_information_of_the_matrix(seed, batch_size, left_out):
    z, mean, scale = gaussian_posteriors(43, 1.5, dim=3, seed=seed)
    scale = scale * np.random.default_rng(seed).uniform(0.5, 2, scale.shape)
    mean, z = mean + 50, z + 50  # far from the origin, where squares cancel
    matrix = log_density_matrix(z, mean, scale)
    by_matrix = minibatch_information(matrix, batch_size, left_out)
    assert gaussian_information(z, mean, scale, batch_size, left_out) == pytest.approx(by_matrix)
    size = batch_size or 43
    gains = []
    for i in range(43 // size * size):  # the definition, one sample at a time
        batch = range(i // size * size, i // size * size + size)
        others = [j for j in batch if j != i or not left_out]
        gains.append(matrix[i, i] - math.log(np.mean(np.exp(matrix[i, others]))))
    assert by_matrix.information == pytest.approx(np.mean(gains))
    assert by_matrix.information <= by_matrix.ceiling


def test_gaussian_information_works_in_blocks_of_rows(monkeypatch):
    z, mean, scale = gaussian_posteriors(100, 2.0)
    whole = gaussian_information(z, mean, scale, batch_size=40)
    monkeypatch.setattr("lvmlab.diagnostics.information.ROWS", 7)
    assert gaussian_information(z, mean, scale, batch_size=40) == pytest.approx(whole)


def test_disjoint_supports_are_allowed_off_the_diagonal():
    matrix = np.full((4, 4), -np.inf)
    np.fill_diagonal(matrix, 0.0)
    assert minibatch_information(matrix) == (math.log(4), math.log(4))
    assert minibatch_information(matrix, leave_own_out=True).information == math.inf


ROWS = np.full((3, 2), 0.5)
Z = np.zeros((3, 2))
SQUARE = np.zeros((3, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: categorical_information([[0.5, 0.6]]), "rows of posteriors must sum to 1.*1.1"),
        (lambda: categorical_information([[1.5, -0.5]]), "posteriors must hold probabilities"),
        (lambda: categorical_information([0.5, 0.5]), r"posteriors must have shape \(N, K\)"),
        (lambda: categorical_information(1.0), r"posteriors must have shape \(N, K\)"),
        (lambda: categorical_information(np.zeros((0, 3))), "posteriors must hold at least one"),
        (lambda: categorical_information([[np.inf, 0]]), "posteriors must be finite"),
        (lambda: categorical_information(ROWS, prior=[0.5, 0.6]), "prior must sum to 1"),
        (lambda: categorical_information(ROWS, prior=[1, 0, 0]), "prior must have one entry for"),
        (lambda: categorical_information(ROWS, weights=[1, 1]), "posteriors has 3, weights has 2"),
        (lambda: categorical_information(ROWS, weights=[1, 1, -1]), "weights must be non-negative"),
        (lambda: categorical_information(ROWS, weights=[0, 0, 0]), "weights must be non-negative"),
        (lambda: categorical_information(ROWS, weights=[1, np.nan, 0]), "weights must be finite"),
        (lambda: minibatch_information(np.zeros((2, 3))), "log_density must be square"),
        (lambda: minibatch_information(np.zeros(3)), r"log_density must have shape \(N, N\)"),
        (lambda: minibatch_information(np.zeros((0, 0))), "log_density must hold at least one"),
        (lambda: minibatch_information([[0, np.nan], [0, 0]]), "log_density must hold no NaN"),
        (lambda: minibatch_information([[0, np.inf], [0, 0]]), r"no \+infinity"),
        (lambda: minibatch_information([[-np.inf, 0], [0, 0]]), "finite on its diagonal"),
        (lambda: minibatch_information(SQUARE, batch_size=4), "batch_size must.*between 1 and 3"),
        (lambda: minibatch_information(SQUARE, batch_size=0), "batch_size must.*but is 0"),
        (lambda: minibatch_information(SQUARE, batch_size=1.5), "batch_size must.*but is 1.5"),
        (lambda: minibatch_information(SQUARE, 1, leave_own_out=True), "between 2 and 3"),
        (lambda: gaussian_information(Z, Z, np.ones(3)), "z, mean and scale must have one shape"),
        (lambda: gaussian_information(Z, Z, Z), "scale must be positive.*is 0"),
        (lambda: gaussian_information(Z, Z + np.nan, Z + 1), "mean must be finite"),
        (lambda: gaussian_information(Z, Z, Z + 1, batch_size=9), "batch_size must"),
    ],
)
def test_bad_posteriors_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
