"""The checks of notebook 08: right answers pass, typical wrong ones meet their hint."""

import numpy as np
import pytest
from answers import rejects
from scipy.optimize import linear_sum_assignment
from scipy.special import logsumexp, xlogy
from sklearn.linear_model import LogisticRegression

from lvmlab.diagnostics import categorical_information
from lvmlab.exercises import discrete_latents_at_scale as exercises


def entropy(p):
    return -xlogy(p, p).sum(-1)


def parts(r):
    of_mean, within = entropy(r.mean(0)), entropy(r).mean()
    return of_mean - within, np.log(r.shape[1]) - of_mean, within


def counted(r):
    return parts(np.eye(r.shape[1])[r.argmax(1)])


def without_the_limit(r):
    of_mean, within = -(r.mean(0) * np.log(r.mean(0))).sum(), -(r * np.log(r)).sum(1).mean()
    return of_mean - within, np.log(r.shape[1]) - of_mean, within


WRONG_SPLITS = {
    "largest entries": (counted, "0.51 and 0.49 is not a decision"),
    "bits": (lambda r: tuple(p / np.log(2) for p in parts(r)), "must sum to log 2 in nats"),
    "turned round": (
        lambda r: (parts(r)[0], -parts(r)[1], np.log(r.shape[1]) - parts(r)[0] + parts(r)[1]),
        "a part is negative",
    ),
    "no indecision": (lambda r: (*parts(r)[:2], 0.0), "your parts sum to"),
    "0 log 0": (without_the_limit, "0 log 0 = 0"),
    "swapped": (lambda r: (parts(r)[2], *parts(r)[1::-1]), "the information is"),
    "two": (lambda r: parts(r)[:2], "return three numbers"),
}


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize(("answer", "hint"), WRONG_SPLITS.values(), ids=WRONG_SPLITS)
def test_wrong_splits(answer, hint):
    rejects(exercises.split_of_log_k, hint, answer)


def test_parts_by_the_library_are_right_too():
    def answer(r):
        found = categorical_information(r)
        indecision = found.ceiling - found.information - found.aggregated_kl
        return found.information, found.aggregated_kl, indecision

    verdict = exercises.split_of_log_k(answer)
    assert verdict.status == "right", verdict.message


def table(a, b, K):
    counts = np.zeros((K, K), int)
    np.add.at(counts, (b, a), 1)
    return counts


def greedy(a, b, K):
    counts, names = table(a, b, K), np.zeros(K, int)
    for _ in range(K):
        i, j = np.unravel_index(counts.argmax(), counts.shape)
        names[i] = j
        counts[i], counts[:, j] = -1, -1
    return names


WRONG_ALIGNMENTS = {
    "row by row": (lambda a, b, K: table(a, b, K).argmax(1), "two labels share a target"),
    "as they were": (lambda a, b, K: np.arange(K), "names, not numbers"),
    "the way back": (lambda a, b, K: np.argsort(greedy(a, b, K)), "this is the way back"),
    "the best sum": (
        lambda a, b, K: linear_sum_assignment(table(a, b, K), maximize=True)[1],
        "the largest remaining cell first",
    ),
    "by size": (
        lambda a, b, K: np.argsort(-table(a, b, K).sum(0))[
            np.argsort(np.argsort(-table(a, b, K).sum(1)))
        ],
        "delete its row and its column",
    ),
    "renamed labels": (lambda a, b, K: greedy(a, b, K)[b], "whole numbers"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_ALIGNMENTS.values(), ids=WRONG_ALIGNMENTS)
def test_wrong_alignments(answer, hint):
    rejects(exercises.align_two_runs, hint, answer)


def em(counts, K, seed, smoothing=0.1, logs=True, even=False, path=None, prior=True, sweeps=60):
    r = np.random.default_rng(seed).dirichlet(np.ones(K), size=len(counts))
    r = np.full_like(r, 1 / K) if even else r
    values = []
    for _ in range(sweeps):
        w = r.T @ counts + smoothing
        w = w / w.sum(1, keepdims=True)
        if logs:
            scores = counts @ np.log(w).T - prior * np.log(K)
            log_p = logsumexp(scores, axis=1)
            r = np.exp(scores - log_p[:, None])
        else:
            product = np.prod(w[None] ** counts[:, None], axis=2) / K
            log_p, r = np.log(product.sum(1)), product / product.sum(1, keepdims=True)
        total = log_p.sum() + 0.1 * np.log(w).sum()
        values.append(path(log_p, w) if path else total)
    return r, values


WRONG_MIXTURES = {
    "products": (lambda c, K, s: em(c, K, s, logs=False), "stay in logs"),
    "no smoothing": (lambda c, K, s: em(c, K, s, smoothing=0), "an unseen word"),
    "even start": (lambda c, K, s: em(c, K, s, even=True), "begin at random"),
    "another smoothing": (lambda c, K, s: em(c, K, s, smoothing=30), "one more M step"),
    "no prior": (lambda c, K, s: em(c, K, s, prior=False), "forget the prior"),
    "a mean": (
        lambda c, K, s: em(c, K, s, path=lambda lp, w: lp.mean() + 1e-4 * np.log(w).sum()),
        "above the",
    ),
    "a cost": (lambda c, K, s: em(c, K, s, path=lambda lp, w: -lp.sum()), "the path falls"),
    "one sweep": (lambda c, K, s: em(c, K, s, sweeps=1), "a path of two sweeps"),
    "scores": (lambda c, K, s: (em(c, K, s)[0] * 2, em(c, K, s)[1]), "must sum to 1"),
    "posteriors": (lambda c, K, s: em(c, K, s)[0], "return two things"),
}


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize(("answer", "hint"), WRONG_MIXTURES.values(), ids=WRONG_MIXTURES)
def test_wrong_mixtures(answer, hint):
    rejects(exercises.baseline, hint, answer)


def crossing(splits, test="rest", sizes=(16, 32, 64, 128, 256)):
    def answer(features, labels, target, seed):
        random = np.random.default_rng(seed)
        for size in sizes:
            right = []
            for _ in range(splits):
                order = random.permutation(len(labels))
                used, rest = (
                    order[:size],
                    {"rest": order[size:], "all": order}.get(test, order[:size]),
                )
                model = LogisticRegression().fit(features[used], labels[used])
                right.append(100 * model.score(features[rest], labels[rest]))
            if np.mean(right) >= target:
                return size
        return size

    return answer


WRONG_CROSSINGS = {
    "one split": (crossing(1), "Average over splits"),
    "training rows": (crossing(1, "used"), "rows that were not used"),
    "all rows": (crossing(30, "all"), "Are the fitted ones in your score?"),
    "too few sizes": (crossing(30, sizes=(64, 128, 256)), "60 splits say 32"),
    "a mean of sizes": (lambda f, y, t, s: 48, "return one of 16"),
    "the largest": (lambda f, y, t, s: 256, "60 splits say 64"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "hint"), WRONG_CROSSINGS.values(), ids=WRONG_CROSSINGS)
def test_wrong_crossings(answer, hint):
    rejects(exercises.labels_worth, hint, answer)
