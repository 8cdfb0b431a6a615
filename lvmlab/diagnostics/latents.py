"""What a cloud of latents looks like: units in use, labels of neighbours, a map in the plane."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from lvmlab.diagnostics import arrays
from lvmlab.joint import Joint
from lvmlab.train import evaluating

NEIGHBOURS = 15  # of each point in a UMAP, the point itself included
FEWEST = 10  # rows below which t-SNE and UMAP have nothing to arrange


class ActiveUnits(NamedTuple):
    """How many latent dimensions move with the data, and by how much each does."""

    active: int
    variances: np.ndarray  # (D,), squared units of z


def active_units(means: Any, threshold: float = 0.01) -> ActiveUnits:
    """Number of latent dimensions whose posterior mean has a variance over data above a threshold.

    means (N, D): row n is the mean of q(z | x_n). The variance divides by N (some published code
    divides by N - 1). A count of movement, not of information: a unit with a wide posterior may be
    active and carry almost nothing. Raises `ValueError` for NaN, other shapes, fewer than two rows
    and a negative threshold.

    Source: Burda, Grosse and Salakhutdinov (2016), section 5.2.
    """
    means = arrays.samples("means", means)
    if len(means) < 2:
        raise ValueError(
            "means must have at least 2 rows, because their variance over data is asked for, but "
            "has 1. Pass the means of the whole test set."
        )
    if not threshold >= 0:
        raise ValueError(
            f"threshold must be a variance, zero or more, but is {threshold!r}. The usual is 0.01."
        )
    variances = means.var(0)
    return ActiveUnits(int((variances > threshold).sum()), variances)


def knn_accuracy(
    train_z: Any,
    train_label: Any,
    test_z: Any,
    test_label: Any,
    k: int = 5,
) -> float:
    """Share of test points, 0 ... 1, whose k nearest training points vote for their label.

    train_z (N, D), test_z (M, D), labels (N,) and (M,) of integers. Euclidean distance, majority,
    the smaller label when votes tie. Print the same number for the raw data beside it: a good value
    need not be the model's merit. Raises `ValueError` for NaN, labels that are not integers,
    lengths and widths that differ, and k above N.
    """
    train_z, test_z = arrays.samples("train_z", train_z), arrays.samples("test_z", test_z)
    train_label = arrays.labels("train_label", train_label)
    test_label = arrays.labels("test_label", test_label)
    arrays.same_length(train_z=train_z, train_label=train_label)
    arrays.same_length(test_z=test_z, test_label=test_label)
    if train_z.shape[1] != test_z.shape[1]:
        raise ValueError(
            f"train_z and test_z must have the same columns, but train_z has {train_z.shape[1]} "
            f"and test_z has {test_z.shape[1]}. Encode both with one model."
        )
    k = arrays.whole_number("k", k, 1, len(train_z), f"for {len(train_z)} training rows")
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(n_neighbors=k).fit(train_z, train_label)
    return float((classifier.predict(test_z) == test_label).mean())


def log_prior(p: Joint, latent: str = "z") -> Callable[[Any], np.ndarray]:
    """Log p(z) of arrays z (M, D), (M,) nats, under the factor of p that draws z from nothing.

    What `widgets.latent_walk` takes: N(0, I), a mixture or a VampPrior, as it is now. Raises
    `ValueError` for a latent that has parents in p, or is not in it.
    """
    prior: Any = p.factors.get(latent)
    if prior is None:
        raise ValueError(f"latent must be a factor of {p} without parents, got {latent!r}")

    def nats(z: Any) -> np.ndarray:
        with torch.no_grad(), evaluating({"p": p}):
            here = prior()
            known = next((v for v in (*p.parameters(), *p.buffers())), torch.zeros(()))
            return here.log_prob(torch.as_tensor(np.asarray(z)).to(known)).cpu().double().numpy()

    return nats


def planar_map(z: Any, method: str = "pca", seed: int = 0, start: str = "pca") -> np.ndarray:
    """Coordinates (N, 2) for a picture of latents z (N, D), by "pca", "tsne" or "umap".

    The same z, method and seed give the same picture on one machine. PCA is a projection, in the
    units of z; distances between groups in the other two mean little. UMAP uses 15 neighbours,
    found by brute force, and takes some seconds to compile on its first use in a process. start:
    where t-SNE begins, "pca" or "random"; seeds differ by much from random places only. Raises
    `ValueError` for another method or start, NaN, fewer than two columns, and fewer than 2 rows
    (10 for t-SNE and UMAP).
    """
    maps = {"pca": _pca, "tsne": _tsne, "umap": _umap}
    if method not in maps:
        raise ValueError(f"method must be one of {', '.join(maps)}, but is {method!r}. Try 'pca'.")
    if start not in ("pca", "random"):
        raise ValueError(f"start must be pca or random, but is {start!r}. Try 'pca'.")
    z = arrays.samples("z", z)
    fewest = 2 if method == "pca" else FEWEST
    if len(z) < fewest or z.shape[1] < 2:
        raise ValueError(
            f"z must have at least {fewest} rows and 2 columns for {method}, but has shape "
            f"{z.shape}. Draw a single column as a histogram, and few points with 'pca'."
        )
    return maps[method](z, seed, start)


def _pca(z: np.ndarray, seed: int, start: str) -> np.ndarray:
    from sklearn.decomposition import PCA

    return PCA(2, svd_solver="full").fit_transform(z)


def _tsne(z: np.ndarray, seed: int, start: str) -> np.ndarray:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(z) - 1) / 3)
    plane = TSNE(2, perplexity=perplexity, init=start, random_state=seed).fit_transform(z)
    return plane.astype(np.float64)


def _umap(z: np.ndarray, seed: int, start: str) -> np.ndarray:
    from sklearn.neighbors import NearestNeighbors

    # Neighbours found here are exact, and spare the compilation of UMAP's approximate search.
    neighbours = min(NEIGHBOURS, len(z) - 1)
    search = NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(z)
    distances, indices = search.kneighbors(z)
    threads = torch.get_num_threads()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no TensorFlow, no placing of new points: not needed
            import umap

            known = (indices, distances)
            mapper = umap.UMAP(neighbours, precomputed_knn=known, random_state=seed, n_jobs=1)
            return mapper.fit_transform(z).astype(np.float64)
    finally:
        # numba sets OpenMP's number for the whole process: beside another one, two threads of a
        # small step wait for each other
        torch.set_num_threads(threads)
