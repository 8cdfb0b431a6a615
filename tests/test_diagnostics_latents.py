"""Latents: units in use, votes of neighbours, maps in the plane."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmlab.diagnostics import active_units, knn_accuracy, log_prior, planar_map


def two_blobs(n=60, dim=5, seed=0):
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2
    return rng.standard_normal((n, dim)) + 8 * label[:, None], label


def test_active_units():
    means = [[0, 1, 0.05], [2, 1.1, 0.05], [-1, 0.9, 0.06], [1, 1, 0.04]]
    found = active_units(means)
    np.testing.assert_allclose(found.variances, [1.25, 0.005, 0.00005], atol=1e-12)
    assert found.active == 1
    assert active_units(means, threshold=0.001).active == 2
    assert active_units(means, threshold=1.25).active == 0  # above, not at
    assert (np.var(means, axis=0, ddof=1) > 0.01).sum() == 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_active_units_count_movement_and_not_place(seed):
    rng = np.random.default_rng(seed)
    means = rng.standard_normal((50, 6)) * [1, 1, 0.01, 1, 0.001, 0]
    moved = means[:, rng.permutation(6)] + rng.uniform(-5, 5, 6)
    assert active_units(means).active == active_units(moved).active == 3


def test_knn_classifier():
    train = [[0, 0], [1, 0], [0, 1], [5, 5], [6, 5], [5, 6]]
    test = [[0.2, 0.2], [5.5, 5.5], [2.4, 2.4]]
    accuracy = knn_accuracy(train, [0, 0, 0, 1, 1, 1], test, [0, 1, 1], k=3)
    assert accuracy == pytest.approx(2 / 3)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 5]))
def test_knn_accuracy_is_that_of_sorted_distances(seed, k):
    rng = np.random.default_rng(seed)
    train, test = rng.standard_normal((40, 3)), rng.standard_normal((15, 3))
    label, truth = rng.integers(0, 3, 40), rng.integers(0, 3, 15)
    distance = np.linalg.norm(test[:, None] - train, axis=-1)
    votes = [np.bincount(label[np.argsort(row)[:k]], minlength=3).argmax() for row in distance]
    assert knn_accuracy(train, label, test, truth, k) == pytest.approx((votes == truth).mean())


def test_knn_accuracy_sees_groups_and_only_them():
    z, label = two_blobs()
    assert knn_accuracy(z[:40], label[:40], z[40:], label[40:]) == 1
    rng = np.random.default_rng(0)
    shuffled = [
        knn_accuracy(z[:40], rng.permutation(label[:40]), z[40:], label[40:]) for _ in range(30)
    ]
    assert abs(np.mean(shuffled) - 0.5) < 4 * np.std(shuffled) / np.sqrt(30)


def check_map(method):
    z, label = two_blobs()
    plane = planar_map(z, method)
    assert plane.shape == (60, 2)
    assert plane.dtype == np.float64
    assert np.isfinite(plane).all()
    np.testing.assert_array_equal(plane, planar_map(z, method))  # the same picture again
    assert knn_accuracy(plane[:40], label[:40], plane[40:], label[40:]) == 1
    return z, plane


def test_pca_keeps_the_two_widest_directions():
    z, plane = check_map("pca")
    spectrum = np.linalg.eigvalsh(np.cov(z.T))[::-1]
    np.testing.assert_allclose(plane.var(0, ddof=1), spectrum[:2])
    assert planar_map(z[:2]).shape == (2, 2)


@pytest.mark.slow
def test_tsne_keeps_groups_apart():
    z, plane = check_map("tsne")
    assert not np.array_equal(plane, planar_map(two_blobs(seed=1)[0], "tsne"))
    assert planar_map(z[:10], "tsne").shape == (10, 2)


@pytest.mark.slow
def test_only_from_random_places_do_two_seeds_of_tsne_differ_by_much():
    """The ruler: how the distances of one map correlate with those of the other."""
    from scipy.spatial.distance import pdist

    for seed in range(3):
        z = np.random.default_rng(seed).standard_normal((60, 8))
        alike = {}
        for start in ("pca", "random"):
            one, other = (pdist(planar_map(z, "tsne", s, start=start)) for s in (0, 1))
            alike[start] = np.corrcoef(one, other)[0, 1]
        assert alike["pca"] > 0.99 and alike["random"] < 0.9  # 1.00, and 0.70 to 0.71


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning")
@pytest.mark.parametrize("threads", [1, 2])
def test_umap_leaves_the_threads_of_torch_alone(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        check_map("umap")
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning")
def test_umap_keeps_groups_apart_and_compiles_no_search(monkeypatch):
    import umap.umap_

    def refuse(*_, **__):
        raise AssertionError("the approximate search was compiled")

    monkeypatch.setattr(umap.umap_, "nearest_neighbors", refuse)
    z, _ = check_map("umap")
    assert not np.array_equal(planar_map(z, "umap"), planar_map(z, "umap", seed=1))
    assert planar_map(z[:10], "umap").shape == (10, 2)
    assert planar_map(np.random.default_rng(0).standard_normal((4200, 4)), "umap").shape[0] == 4200


Z, LABEL = np.zeros((6, 2)), np.zeros(6, int)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: active_units(np.zeros((0, 3))), "means must hold at least one"),
        (lambda: active_units([[1.0, 2.0]]), "means must have at least 2 rows"),
        (lambda: active_units([[1.0], [np.nan]]), r"means must be finite.*\(1, 0\)"),
        (lambda: active_units(np.zeros((2, 2, 2))), r"means must have shape \(N, D\)"),
        (lambda: active_units(Z, threshold=-1), "threshold must be a variance"),
        (lambda: active_units(Z, threshold=np.nan), "threshold must be a variance"),
        (lambda: knn_accuracy(Z, LABEL[:5], Z, LABEL), "train_z has 6, train_label has 5"),
        (lambda: knn_accuracy(Z, LABEL, Z, LABEL[:5]), "test_z has 6, test_label has 5"),
        (lambda: knn_accuracy(Z, LABEL, Z[:, :1], LABEL), "train_z has 2 and test_z has 1"),
        (lambda: knn_accuracy(Z, LABEL + 0.5, Z, LABEL), "train_label must hold integers"),
        (lambda: knn_accuracy(Z, LABEL, Z, LABEL + 0.5), "test_label must hold integers"),
        (lambda: knn_accuracy(Z, LABEL, Z, LABEL, k=7), "k must be.*between 1 and 6"),
        (lambda: knn_accuracy(Z + np.nan, LABEL, Z, LABEL), "train_z must be finite"),
        (lambda: knn_accuracy(Z, LABEL, Z + np.nan, LABEL), "test_z must be finite"),
        (lambda: planar_map(Z, "mds"), "method must be one of pca, tsne, umap, but is 'mds'"),
        (lambda: planar_map(Z, "tsne", start="umap"), "start must be pca or random, but is 'umap'"),
        (lambda: planar_map(Z, "tsne"), r"z must have at least 10 rows.*\(6, 2\)"),
        (lambda: planar_map(Z[:, :1]), "z must have at least 2 rows and 2 columns"),
        (lambda: planar_map(Z + np.inf), "z must be finite"),
    ],
)
def test_bad_latents_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_log_prior_is_the_density_of_the_factor_without_parents():
    """`vampprior-normalised`, and the log-density of N(0, I), through joints of two shapes."""
    import torch
    from torch.distributions import Independent, Normal

    from lvmlab import Joint
    from lvmlab.conditionals import StandardNormal, VampPrior

    def encoder(x):
        return Independent(Normal(x, 0.5), 1)

    inputs = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    vamp = log_prior(Joint("p", {"z": VampPrior(encoder, inputs)}))
    np.testing.assert_allclose(np.exp(vamp([[0.0], [1.0]])), [0.107982, 0.399076], atol=1e-6)
    p = Joint("p", {"z2": StandardNormal(3), "z1|z2": encoder})
    z = np.random.default_rng(0).standard_normal((4, 3))
    exact = -0.5 * (z**2).sum(1) - 1.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(log_prior(p, "z2")(z), exact, atol=1e-5)
    assert log_prior(p, "z2")(z).dtype == np.float64
    for latent in ("z1", "z"):
        with pytest.raises(ValueError, match=f"without parents, got '{latent}'"):
            log_prior(p, latent)
