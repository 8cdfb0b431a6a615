"""The checks of notebook 01: right answers pass, typical wrong ones meet their hint."""

import numpy as np
import pytest
from answers import rejects

from lvmlab.diagnostics import entropy, plug_in_information
from lvmlab.exercises import joints_and_divergences as exercises


def _kl(q, p, log=np.log):
    q, p = np.asarray(q, float), np.asarray(p, float)
    ratio = np.divide(q, p, out=np.full(q.shape, np.inf), where=p > 0)
    terms = np.multiply(q, log(np.where(q > 0, ratio, 1)), out=np.zeros(q.shape), where=q > 0)
    return terms.sum()


def _overlap_only(q, p):
    both = (q > 0) & (p > 0)
    return (q[both] * np.log(q[both] / p[both])).sum()


WRONG_KL = {
    "bits": (lambda q, p: _kl(q, p, np.log2), "off by a factor of 1.44"),
    "no convention for 0 log 0": (lambda q, p: (q * np.log(q / p)).sum(), "0 log 0 = 0"),
    "missing support is free": (_overlap_only, "what should that cost?"),
    "small number added": (
        lambda q, p: (q * np.log((q + 1e-12) / (p + 1e-12))).sum(),
        "what should that cost?",
    ),
    "negative": (lambda q, p: -_kl(q, p), "never negative"),
    "the other way round": (lambda q, p: _kl(p, q), "p may allow what q excludes"),
    "one number a row": (lambda q, p: (np.asarray(q) * 0).sum(-1), "one number"),
    "always 0": (lambda q, p: 0.0, "already disagree"),
    "infinite whenever a zero is about": (
        lambda q, p: np.inf if len(q) == 3 and min(q.min(), p.min()) == 0 else _kl(q, p),
        "p may allow what q excludes",
    ),
    "the other way round where it is finite": (
        lambda q, p: _kl(q, p) if min(q.min(), p.min()) == 0 or q.shape == (2, 2) else _kl(p, q),
        "this is KL(p, q)",
    ),
    "mass of p on the support added": (
        lambda q, p: _kl(q, p) - 1 + p[q > 0].sum(),
        "and no more",
    ),
    "only for two axes": (
        lambda q, p: _kl(q, p) if q.ndim == 2 or len(q) == 3 else 0.0,
        "a table of shape",
    ),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_KL.values(), ids=WRONG_KL)
def test_wrong_kl(answer, hint):
    rejects(exercises.kl, hint, answer)


def _rows(posteriors, weights=None):
    weights = np.ones(len(posteriors)) if weights is None else np.asarray(weights)
    weights = weights / weights.sum()
    return weights, np.array([entropy(row) for row in posteriors]), entropy(weights @ posteriors)


def _weighted_in_one_place(posteriors, weights=None):
    w, rows, _ = _rows(posteriors, weights)
    return entropy(np.mean(posteriors, 0)) - w @ rows


def _unnormalised(posteriors, weights=None):
    w, rows, aggregate = _rows(posteriors, weights)
    scale = 1.0 if weights is None else np.sum(weights)
    return scale * (aggregate - w @ rows)


WRONG_INFORMATION = {
    "negative entropy": (lambda rows, w=None: -_rows(rows, w)[1].mean(), "all rows are equal"),
    "against uniform": (
        lambda rows, w=None: np.log(rows.shape[1]) - _rows(rows, w)[1].mean(),
        "not with the uniform distribution",
    ),
    "entropy of the mean": (lambda rows, w=None: _rows(rows, w)[2], "must give 0"),
    "no convention for 0 log 0": (
        lambda rows, w=None: np.mean((rows * np.log(rows / rows.mean(0))).sum(1)),
        "0 log 0 = 0",
    ),
    "bits": (
        lambda rows, w=None: (_rows(rows, w)[2] - _rows(rows, w)[1].mean()) / np.log(2),
        "give log 4",
    ),
    "maximal leakage": (
        lambda rows, w=None: np.log(np.max(rows, 0).sum()),
        "the first three posteriors give 0.147866",
    ),
    "weights ignored": (
        lambda rows, w=None: _rows(rows)[2] - _rows(rows)[1].mean(),
        "weights change q(x)",
    ),
    "weights in one place": (_weighted_in_one_place, "the mean AND the row entropies"),
    "weights not normalised": (_unnormalised, "divide them by their sum"),
    "one number a row": (lambda rows, w=None: np.zeros(len(rows)), "one number"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_INFORMATION.values(), ids=WRONG_INFORMATION)
def test_wrong_information(answer, hint):
    rejects(exercises.information, hint, answer)


WRONG_PAIRINGS = {
    "distinct x": (([0, 1, 2], [0, 0, 1], [0, 1, 2], [2, 1, 0]), "with distinct x"),
    "distinct z": (([0, 0, 1], [0, 1, 2], [0, 1, 2], [2, 1, 0]), "with distinct z"),
    "values in place of positions": (
        ([0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1], [0, 1, 0, 1]),
        "only their order is yours",
    ),
    "another multiset": (
        ([0, 0, 1, 1], [0, 0, 1, 1], [0, 1, 2, 3], [0, 0, 0, 1]),
        "only their order is yours",
    ),
    "the same table": (
        ([0, 0, 1, 1], [0, 0, 1, 1], [0, 1, 2, 3], [1, 0, 3, 2]),
        "repeat a whole pair",
    ),
    "unequal lengths": (([0, 0, 1], [0, 0, 1, 1], [0, 1, 2], [2, 1, 0]), "lists of one length"),
    "three parts": (([0, 0, 1, 1], [0, 0, 1, 1], [0, 1, 2, 3]), "four lists"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_PAIRINGS.values(), ids=WRONG_PAIRINGS)
def test_wrong_pairing(answer, hint):
    rejects(exercises.pairing_example, hint, lambda: answer)


def test_the_papers_own_tables_are_a_right_pairing():
    x, z = [0, 0, 1, 2], [0, 0, 1, 2]
    answer = x, z, [0, 1, 2, 3], [2, 3, 0, 1]
    assert exercises.pairing_example(lambda: answer).status == "right"


def _floor(x, z, shuffles, seed, middle=np.mean):
    random = np.random.default_rng(seed)
    return middle([plug_in_information(x, random.permutation(z)) for _ in range(shuffles)])


def _shuffled_in_place(x, z, shuffles, seed):
    value = plug_in_information(x, z)
    np.random.default_rng(seed).shuffle(z)
    return value - plug_in_information(x, z)


def _both_shuffled(x, z, shuffles, seed):
    order = np.random.default_rng(seed).permutation(len(x))
    return plug_in_information(x, z) - plug_in_information(x[order], z[order])


def _formula(x, z, shuffles, seed):
    cells = (len(np.unique(x)) - 1) * (len(np.unique(z)) - 1)
    return plug_in_information(x, z) - cells / (2 * len(x))


WRONG_CORRECTIONS = {
    "none": (lambda x, z, s, seed: plug_in_information(x, z), "still get 0.48 nats"),
    "clipped": (
        lambda x, z, s, seed: max(0.0, plug_in_information(x, z) - _floor(x, z, s, seed)),
        "mean of clipped values",
    ),
    "formula": (_formula, "measure the floor by shuffling"),
    "log N": (
        lambda x, z, s, seed: plug_in_information(x, z) - np.log(len(x)),
        "vanish for large N?",
    ),
    "shuffled in place": (_shuffled_in_place, "permute a copy"),
    "both sides shuffled": (_both_shuffled, "shuffle one side only"),
    "seed ignored": (
        lambda x, z, s, seed: plug_in_information(x, z) - _floor(x, z, s, None),
        "the same seed",
    ),
    "half": (lambda x, z, s, seed: plug_in_information(x, z) / 2, "must vanish for large N"),
    "floor added": (
        lambda x, z, s, seed: plug_in_information(x, z) + _floor(x, z, s, seed),
        "average to 0 within 0.02",
    ),
    "a list": (lambda x, z, s, seed: [plug_in_information(x, z)], "one number"),
    "one shuffle": (
        lambda x, z, s, seed: plug_in_information(x, z) - _floor(x, z, 1, seed),
        "Do you make `shuffles` of them?",
    ),
    "a constant seed": (
        lambda x, z, s, seed: plug_in_information(x, z) - _floor(x, z, s, 7),
        "make the generator of `seed`",
    ),
    "a median": (
        lambda x, z, s, seed: plug_in_information(x, z) - _floor(x, z, s, seed, np.median),
        "and it counts",
    ),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_CORRECTIONS.values(), ids=WRONG_CORRECTIONS)
def test_wrong_correction(answer, hint):
    rejects(exercises.corrected, hint, answer)
