"""Several rulers of one information, each with the largest value it can give."""

import math
import pickle

import numpy as np
import pytest

from lvmlab.diagnostics import (
    Estimate,
    Estimates,
    estimator_curves,
    gaussian_information,
    gaussian_pairs,
    infonce_readings,
    information_estimates,
    ksg,
    ksg_ceiling,
)


def test_gaussian_pairs_carry_the_information_they_promise():
    for dim, true in ((1, 0.7), (2, 2.0), (3, 4.5)):
        spread = []
        for seed in range(10):
            x, z, mean, scale = gaussian_pairs(true, 20_000, dim, seed)
            rho = [np.corrcoef(x[:, d], z[:, d])[0, 1] for d in range(dim)]
            spread.append(-0.5 * np.log1p(-np.square(rho)).sum())
            posterior = -0.5 * ((z - mean) / scale) ** 2 - np.log(scale)
            gain = (posterior + 0.5 * z**2).sum(1).mean()  # against the standard normal
            assert gain == pytest.approx(true, abs=0.06)
            assert z.mean() == pytest.approx(0, abs=0.03)
            assert z.std() == pytest.approx(1, abs=0.03)
        assert np.mean(spread) == pytest.approx(true, abs=4 * np.std(spread) / math.sqrt(10))


def test_minibatch_estimator_saturates_at_log_m():
    """Below its ceiling it follows a known information, above it stays under log M, every seed."""
    for size in (8, 32, 128):
        cap, seeds = math.log(size), range(6)
        read = {
            true: [gaussian_information(*gaussian_pairs(true, 1024, 2, s)[1:], size)[0]
                   for s in seeds]
            for true in (0.25 * cap, cap, 2 * cap, 4 * cap)
        }  # fmt: skip
        means = [float(np.mean(values)) for values in read.values()]
        assert (np.diff(means) > 0).all()
        assert means[0] == pytest.approx(0.25 * cap, abs=0.1)
        assert means[1] < 0.92 * cap
        assert all(value <= cap for values in read.values() for value in values)
        assert min(read[4 * cap]) > 0.99 * cap  # four times the truth reads as no more than log M


def test_every_row_stands_beside_its_ceiling():
    pairs = gaussian_pairs(2.0, 1024, seed=1)
    found = information_estimates(*pairs, batch_sizes=(32, 512, 4096), k=3, exact=2.0)
    assert [row.estimator for row in found] == [
        "closed form",
        "KSG, k = 3",
        "minibatch, M = 32",
        "minibatch, M = 512",
        "full set, N = 1024",
    ]
    caps = [math.inf, ksg_ceiling(1024, 3), math.log(32), math.log(512), math.log(1024)]
    assert [row.ceiling for row in found] == pytest.approx(caps)
    assert found[1].information == ksg(pairs.x, pairs.z, 3)
    assert found[-1].information == gaussian_information(*pairs[1:]).information
    assert all(row.information == pytest.approx(2, abs=0.3) for row in found)
    assert not any(row.at_ceiling for row in found)


def test_the_table_says_at_least_where_a_ceiling_is_near():
    found = information_estimates(*gaussian_pairs(9.0, 512), batch_sizes=(32,), exact=9.0)
    said = repr(found).splitlines()
    assert len(said) == 1 + len(found) == 5
    assert said[1].split() == ["closed", "form", "9.00", "none"]
    assert said[3].endswith("3.47 = log 32, at least")
    assert found[2].at_ceiling and found[3].at_ceiling
    assert not found[0].at_ceiling  # the closed form has no ceiling to be near
    assert pickle.loads(pickle.dumps(found)) == found
    assert isinstance(Estimates([Estimate("KSG", 1.0, 2.0, "two")])[0], Estimate)


def test_without_posteriors_there_is_only_ksg():
    x, z, mean, scale = gaussian_pairs(1.0, 200)
    found = information_estimates(x, z)
    assert [row.estimator for row in found] == ["KSG, k = 5"]
    with pytest.raises(ValueError, match="only mean was given"):
        information_estimates(x, z, mean=mean)
    with pytest.raises(ValueError, match="only scale was given"):
        information_estimates(x, z, scale=scale)
    with pytest.raises(ValueError, match="tie"):
        information_estimates(np.repeat(x, 2, 0), np.repeat(z, 2, 0))


def test_curves_are_the_estimators_on_common_noise():
    curves = estimator_curves([0.0, 3.0], (16, 64), (3, 5), samples=256, dim=2, seeds=2)
    assert curves["minibatch"].shape == curves["ksg"].shape == (2, 2, 2)
    x, z, mean, scale = gaussian_pairs(3.0, 256, 2, seed=1)
    assert curves["minibatch"][1, 1, 0] == gaussian_information(z, mean, scale, 16).information
    assert curves["ksg"][1, 1, 1] == ksg(x, z, 5)
    assert curves["minibatch"][:, 0] == pytest.approx(0, abs=1e-9)  # one posterior for all


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gaussian_pairs(-1.0, 10), "information must be a number of nats, 0 or more"),
        (lambda: gaussian_pairs(math.inf, 10), "information must be"),
        (lambda: gaussian_pairs(1.0, 0), "samples must be a whole number"),
        (lambda: gaussian_pairs(1.0, 10, 0), "dim must be a whole number"),
        (lambda: estimator_curves([1.0], seeds=0), "seeds must be a whole number"),
        (lambda: estimator_curves(1.0), r"informations must have shape \(I,\)"),
        (lambda: estimator_curves([1.0], (64,), samples=32), "batch_size must be"),
        (lambda: estimator_curves([1.0], (8,), (40,), samples=32), "k must be"),
    ],
)
def test_impossible_settings_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_infonce_with_the_true_posterior_as_critic_is_the_minibatch_form():
    """The mean log-softmax of the pair's own score, plus log M; any c(z) in the critic cancels."""
    for seed in range(5):
        _, z, mean, scale = gaussian_pairs(3.0, 64, 2, seed)
        scores = (-0.5 * ((z[:, None] - mean) / scale) ** 2 - np.log(scale)).sum(-1)
        scores += np.random.default_rng(seed).normal(size=(64, 1))
        shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        bound = np.log(shares.diagonal()).mean() + math.log(64)
        assert bound == pytest.approx(gaussian_information(z, mean, scale, 64).information)


def test_infonce_with_the_posterior_is_the_minibatch_estimator():
    for information, size in ((1.0, 8), (5.0, 64)):
        _, z, mean, scale = gaussian_pairs(information, 256, 1, seed=3)
        expected = gaussian_information(z, mean, scale, size).information
        found = infonce_readings(information, [size], samples=256, seeds=4)[3, 0]
        assert found == pytest.approx(expected, abs=1e-4)


def test_infonce_stays_below_both_ceilings_whatever_the_critic():
    sizes = (2, 8, 32, 128)
    for information in (0.5, 3.0, 6.0):
        best = infonce_readings(information, sizes)
        assert best.shape == (5, 4)
        for sharpness in (0.0, 0.3, 1.0, 3.0):
            found = infonce_readings(information, sizes, sharpness)
            error = found.std(0) / math.sqrt(5)
            lower = np.minimum(information, np.log(sizes))
            assert (found.mean(0) <= lower + 4 * error + 1e-6).all()
            assert (found.mean(0) <= best.mean(0) + 4 * error + 1e-6).all()
        np.testing.assert_allclose(infonce_readings(information, sizes, 0.0), 0, atol=1e-6)
    # by independent numerical means: 3 nats among 32 and 512 candidates
    assert infonce_readings(3.0, (32, 512)).mean(0) == pytest.approx([2.57, 2.96], abs=0.06)


def test_infonce_readings_refuse_what_cannot_be():
    for sizes in ((), (1,), (2048,)):
        with pytest.raises(ValueError, match="sizes must be numbers from 2 to 1024"):
            infonce_readings(1.0, sizes)
    for sharpness in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="sharpness must be a number"):
            infonce_readings(1.0, (4,), sharpness)
    with pytest.raises(ValueError, match="information must be"):
        infonce_readings(-1.0, (4,))
