"""The checks of notebook 09: right answers pass, typical wrong ones meet their hint."""

import numpy as np
import pytest
from answers import rejects
from scipy.special import softmax, xlogy

from lvmlab.exercises import mixtures_and_transport as exercises

bound = exercises.exact_sum.answers[0]
mmd = exercises.mmd_by_hand.answers[0]


def discrete(pi, prior):
    return (xlogy(pi, pi) - xlogy(pi, prior)).sum(1)


WRONG_BOUNDS = {
    "bracket": (
        lambda f, kl, pi, prior: (pi * f).sum(1) - kl.mean(1) - discrete(pi, prior),
        "the bracket closes after it",
    ),
    "summed": (
        lambda f, kl, pi, prior: (pi * f).sum(1) - kl.sum(1) - discrete(pi, prior),
        "the bracket closes after it",
    ),
    "plus": (
        lambda f, kl, pi, prior: (pi * (f - kl)).sum(1) + discrete(pi, prior),
        "cannot rise with the divergence",
    ),
    "none": (lambda f, kl, pi, prior: (pi * (f - kl)).sum(1), "where is the KL of pi"),
    "even prior": (
        lambda f, kl, pi, prior: bound(f, kl, pi, np.full(pi.shape[1], 1 / pi.shape[1])),
        "need not be even",
    ),
    "mean": (lambda f, kl, pi, prior: bound(f, kl, pi, prior).mean(), "must have shape (1,)"),
    "zero log zero": (
        lambda f, kl, pi, prior: (
            (pi * (f - kl - np.log(np.maximum(pi, 1e-3) / prior))).sum(1) + (pi == 0).sum(1) * 0.5
        ),
        "with all weight on one k",
    ),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_BOUNDS.values(), ids=WRONG_BOUNDS)
def test_wrong_bounds(answer, hint):
    rejects(exercises.exact_sum, hint, answer)


WRONG_WEIGHTS = {
    "cost": (lambda f, prior: softmax(-f, 1), "f is a gain"),
    "no prior": (lambda f, prior: softmax(f, 1), "a prior of .99 and .01"),
    "one hot": (lambda f, prior: np.eye(4)[f.argmax(1)], "deserve a little"),
    "columns": (lambda f, prior: softmax(f + np.log(prior), 0), "rows must sum to 1"),
    "even": (lambda f, prior: np.full(f.shape, 0.25), "some random weights do better"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_WEIGHTS.values(), ids=WRONG_WEIGHTS)
def test_wrong_weights(answer, hint):
    rejects(exercises.best_weights, hint, answer)


WRONG_MMDS = {
    "diagonal kept": (lambda z, y, c, pi=None, unbiased=True: mmd(z, y, c, pi, False), "i = j is"),
    "clipped": (
        lambda z, y, c, pi=None, unbiased=True: max(0, mmd(z, y, c, pi, unbiased)),
        "negative now and then",
    ),
    "sign": (lambda z, y, c, pi=None, unbiased=True: -mmd(z, y, c, pi, unbiased), "at C = 1"),
    "no weights": (
        lambda z, y, c, pi=None, unbiased=True: mmd(
            z, y, c, None if pi is None else np.full(pi.shape, 1 / pi.shape[1]), unbiased
        ),
        "you ignore pi",
    ),
    "mean code": (
        lambda z, y, c, pi=None, unbiased=True: mmd(
            z if pi is None else (pi[..., None] * z).sum(1), y, c, None, unbiased
        ),
        "not to the codes' average",
    ),
    "points, not rows": (
        lambda z, y, c, pi=None, unbiased=True: mmd(
            z if pi is None else z.reshape(-1, 2), y, c, None, unbiased
        ),
        "with weights it is",
    ),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_MMDS.values(), ids=WRONG_MMDS)
def test_wrong_mmds(answer, hint):
    rejects(exercises.mmd_by_hand, hint, answer)


PLACES = np.concatenate([np.full((20, 1), -3.0), np.full((20, 1), 3.0)])
BY_PLACE = (PLACES[:, 0] > 0).astype(int)
WRONG_PAIRS = {
    "moved": (lambda: (PLACES, BY_PLACE), "three things"),
    "same": (lambda: (PLACES, BY_PLACE, BY_PLACE), "must tell them apart"),
    "elsewhere": (lambda: (0 * PLACES, BY_PLACE, 0 * BY_PLACE), "must look like the prior"),
    "swapped": (lambda: (PLACES, 1 - BY_PLACE, 0 * BY_PLACE), "one of the two labellings"),
    "plane": (lambda: (PLACES.repeat(2, 1), BY_PLACE, 0 * BY_PLACE), "must be (N, 1)"),
    "short": (lambda: (PLACES, BY_PLACE[:3], BY_PLACE), "the positions are shared"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_PAIRS.values(), ids=WRONG_PAIRS)
def test_wrong_pairs(answer, hint):
    rejects(exercises.blind_to_proportions, hint, answer)
