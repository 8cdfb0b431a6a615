"""Exercises of notebook 08: where log K goes, two runs aligned, a baseline, the worth of labels."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from lvmlab.exercises import Exercise, expect

SIZES = (16, 32, 64, 128, 256)  # labelled rows that exercise 4 may use


def _check_split(three_parts: Callable[..., Any]) -> None:
    random = np.random.default_rng(0)
    cases = [
        np.array([[0.8, 0.2], [0.4, 0.6], [1 / 6, 5 / 6]]),
        np.tile([0.51, 0.49], (6, 1)),
        np.eye(4)[[0, 1, 2, 3, 3]],
        *(random.dirichlet(np.full(k, 0.4), size=50) for k in (3, 5, 10)),
    ]
    for case in cases:
        _compare_split(case, three_parts(case.copy()))


def _compare_split(case: np.ndarray, answer: Any) -> None:
    from lvmlab.diagnostics import categorical_information

    rows, k = case.shape
    expect(
        isinstance(answer, tuple) and len(answer) == 3,
        "return three numbers: information, aggregated_kl, indecision",
    )
    found = [float(np.asarray(part, dtype=float).reshape(())) for part in answer]
    told = f"for {rows} rows over {k} categories"
    expect(
        all(math.isfinite(part) for part in found),
        f"{told} yours are {found}: a probability of 0 gives 0 log 0 = 0, as its limit",
    )
    known = categorical_information(case)
    indecision = known.ceiling - known.information - known.aggregated_kl
    right = (known.information, known.aggregated_kl, indecision)
    expect(
        abs(found[0] * math.log(2) - right[0]) > 1e-9 or right[0] < 1e-9,
        f"{told} these are bits: the parts must sum to log {k} in nats",
    )
    shares = np.bincount(case.argmax(1), minlength=k) / rows
    counted = -sum(s * math.log(s) for s in shares if s)
    expect(
        abs(found[0] - counted) > 1e-9 or abs(counted - right[0]) < 1e-9,
        f"{told} you count largest entries: a row of 0.51 and 0.49 is not a decision",
    )
    expect(
        min(found) > -1e-9,
        f"{told} a part is negative: {min(found):.4f}. Which entropy is the larger one?",
    )
    expect(
        abs(sum(found) - math.log(k)) < 1e-9,
        f"{told} your parts sum to {sum(found):.6f}, not to log {k} = {math.log(k):.6f}",
    )
    for name, mine, exact in zip(
        ("information", "aggregated KL", "indecision"), found, right, strict=True
    ):
        expect(abs(mine - exact) < 1e-9, f"{told} the {name} is {exact:.6f}, yours is {mine:.6f}")


def _check_align(align: Callable[..., Any]) -> None:
    a, b = np.array([0, 0, 1, 1, 2, 2, 3, 3]), np.array([2, 2, 0, 0, 3, 3, 1, 0])
    random = np.random.default_rng(1)
    # the first cell decides: row by row, both labels of b would want label 0 of a
    greedy = np.repeat(np.indices((2, 2)).reshape(2, -1), [6, 5, 5, 1], axis=1)
    cases = [(a, b, 4), (greedy[1], greedy[0], 2)]
    for _ in range(10):
        k = int(random.integers(3, 7))
        one = random.integers(k, size=200)
        noisy = np.where(random.random(200) < 0.6, one, random.integers(k, size=200))
        cases.append((one, random.permutation(k)[noisy], k))
    for one, other, k in cases:
        _compare_align(one, other, k, align(one.copy(), other.copy(), k))
    renamed = np.array([3, 1, 0, 2])
    found = np.asarray(align(a.copy(), renamed[b], 4))
    expect(
        (found[renamed[b]] == np.asarray(align(a.copy(), b.copy(), 4))[b]).all(),
        "rename the labels of b, and the agreement must stay",
    )


def _compare_align(a: np.ndarray, b: np.ndarray, k: int, answer: Any) -> None:
    from lvmlab.diagnostics import ensembles

    found = np.asarray(answer)
    expect(
        found.shape == (k,) and found.dtype.kind in "iu",
        f"return {k} whole numbers, the label of a for each label of b; yours: {found.shape}",
    )
    counts = np.zeros((k, k), int)
    np.add.at(counts, (b, a), 1)
    right = ensembles.align(b, a)
    expect(
        (found == right).all() or (found != np.arange(k)).any(),
        "labels of two seeds are names, not numbers: you kept them as they were",
    )
    expect(
        len(set(found.tolist())) == k,
        f"two labels share a target: yours are {found.tolist()}",
    )
    expect(
        (found == right).all() or (np.argsort(found) != right).any(),
        "this is the way back, from a to b: return the label of a for each label of b",
    )
    best = ensembles.align(b, a, "hungarian")
    expect(
        (found == right).all() or (found != best).any(),
        "this is the best sum; asked for is the paper's rule: the largest remaining cell first",
    )
    # cells may tie: then any order is right, and the number of rows that agree decides
    shared, expected = counts[range(k), found].sum(), counts[range(k), right].sum()
    expect(
        shared == expected,
        f"{shared} of {len(a)} rows agree, with the largest cells {expected}: take the largest "
        "cell, delete its row and its column, repeat",
    )


def _texts(
    seed: int, rows: int, length: int, words: int = 60, topics: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Counts of texts of peaked topics, and the topics; the last word never occurs."""
    random = np.random.default_rng(seed)
    topic = random.integers(topics, size=rows)
    share = np.full((topics, words), 0.2 / words)
    own = np.arange(words) * topics // words
    share[own, np.arange(words)] += 0.8 * topics / words
    share[:, -1] = 0
    share /= share.sum(1, keepdims=True)
    return np.array([random.multinomial(length, share[t]) for t in topic]), topic


def _objective(counts: np.ndarray, posteriors: np.ndarray) -> float:
    """Log-likelihood + 0.1 sum of log word probabilities after an M step on these posteriors."""
    from scipy.special import logsumexp

    weighted = posteriors.T @ counts + 0.1
    words = np.log(weighted / weighted.sum(1, keepdims=True))
    scores = counts @ words.T - math.log(posteriors.shape[1])
    return float(logsumexp(scores, axis=1).sum() + 0.1 * words.sum())


def _check_mixture(unigrams: Callable[..., Any]) -> None:
    from lvmlab.diagnostics import hungarian_accuracy

    for seed, length in ((0, 14), (1, 14), (2, 260)):
        counts, topic = _texts(seed, 400, length)
        with np.errstate(all="ignore"):
            answer = unigrams(counts.copy(), 2, seed)
        expect(
            isinstance(answer, tuple) and len(answer) == 2,
            "return two things: posteriors (N, K) and the path, one number a sweep",
        )
        posteriors, path = (np.asarray(part, dtype=float) for part in answer)
        expect(
            posteriors.shape == (400, 2) and path.ndim == 1 and len(path) > 1,
            f"expected posteriors (400, 2) and a path of two sweeps or more, got "
            f"{posteriors.shape} and {path.shape}",
        )
        good = np.isfinite(posteriors).all() and np.isfinite(path).all()
        expect(
            good or length > 100,
            "an unseen word made a text impossible: add 0.1 to every count before you divide",
        )
        expect(
            good,
            f"a text of {length} words costs about 900 nats, and float64 underflows near 745: "
            "stay in logs",
        )
        expect(
            posteriors.min() >= 0 and abs(posteriors.sum(1) - 1).max() < 1e-6,
            "each row of the posteriors must sum to 1",
        )
        _compare_path(counts, posteriors, path)
        right = 100 * hungarian_accuracy(posteriors, topic).accuracy
        expect(
            abs(posteriors - posteriors[0]).max() > 1e-3,
            "all rows are alike: equal components stay equal, so begin at random",
        )
        expect(right >= 95, f"two peaked topics: expected 95 %, yours are {right:.1f} %")


def _compare_path(counts: np.ndarray, posteriors: np.ndarray, path: np.ndarray) -> None:
    fall = -float(np.diff(path).min())
    expect(
        fall < 1e-6 * abs(path[-1]),
        f"the path falls by {fall:.4f} nats: EM climbs log p(x) + 0.1 times the sum of all log "
        "word probabilities, with the same smoothing in the M step",
    )
    after = _objective(counts, posteriors)
    expect(
        path[-1] <= after + 1e-6 * abs(after),
        f"the path ends at {path[-1]:.2f}, above the {after:.2f} that your own posteriors allow: "
        "did you forget the prior 1/K?",
    )
    expect(
        abs(after - path[-1]) < 0.01 * abs(after),
        f"the path ends at {path[-1]:.2f}; one more M step on your posteriors gives {after:.2f}: "
        "is it the sum over texts, in nats, and have you swept often enough?",
    )


def _labelled(seed: int, rows: int = 1000, dim: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Two classes, 0.3 standard deviations apart on each axis."""
    random = np.random.default_rng(seed)
    labels = random.integers(2, size=rows)
    return random.normal(size=(rows, dim)) + 0.3 * (labels[:, None] - 0.5), labels


@cache
def _curve(splits: int = 60) -> np.ndarray:
    """Percent right on rows that were not used, means over splits, for the smallest sizes."""
    from sklearn.linear_model import LogisticRegression

    features, labels = _labelled(0)
    random, right = np.random.default_rng(0), np.zeros(3)
    for _ in range(splits):
        order = random.permutation(len(labels))
        for i, size in enumerate(SIZES[:3]):
            used, rest = order[:size], order[size:]
            model = LogisticRegression().fit(features[used], labels[used])
            right[i] += model.score(features[rest], labels[rest])
    return 100 * right / splits


def _kinds(seed: int, rows: int = 280, kinds: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Rows of 64 kinds, a label each: few rows, so that those that were fitted weigh much."""
    random = np.random.default_rng(seed)
    kind = random.integers(kinds, size=rows)
    return 5 * np.eye(kinds)[kind], random.permutation(kinds)[kind] % 2


def _check_unseen(crossing: Callable[..., Any]) -> None:
    """A target between the score on unseen rows and the score on all rows, at 64 labels."""
    from sklearn.linear_model import LogisticRegression

    (features, labels), size, right = _kinds(0), 64, 0.0
    random = np.random.default_rng(0)
    for _ in range(60):
        order = random.permutation(len(labels))
        used, rest = order[:size], order[size:]
        model = LogisticRegression().fit(features[used], labels[used])
        right += 100 * model.score(features[rest], labels[rest]) / 60
    target = right + 0.5 * (100 - right) * size / len(labels)
    found = {int(crossing(features.copy(), labels.copy(), target, seed)) for seed in range(4)}
    told = f"{len(labels)} other rows, for {target:.1f} % you say {sorted(found)}"
    expect(
        min(found) > size,
        f"{told}; on rows that were not used to fit, {size} labels give {right:.1f} %. Are the "
        "fitted ones in your score?",
    )
    expect(found == {2 * size}, f"{told}; 60 splits say {2 * size}")


def _check_crossing(crossing: Callable[..., Any]) -> None:
    features, labels = _labelled(0)
    curve = _curve()
    for place in (2, 1):
        target = float(curve[place - 1 : place + 1].mean())  # between two sizes
        found = []
        for seed in range(4):
            answer = np.asarray(crossing(features.copy(), labels.copy(), target, seed))
            expect(
                answer.shape == () and int(answer) in SIZES,
                f"return one of {', '.join(map(str, SIZES))}; yours is {answer}",
            )
            found.append(int(answer))
        told = f"for {target:.1f} % you say {sorted(set(found))}"
        expect(
            set(found) != {SIZES[0]},
            f"{told}, the smallest size: 100 % there? Test on rows that were not used to fit",
        )
        expect(
            len(set(found)) == 1,
            f"{told}, by seed: at these sizes the spread of one split is larger than the step. "
            "Average over splits before you compare",
        )
        expect(
            found[0] == SIZES[place],
            f"{told}; 60 splits say {SIZES[place]}: the first size whose mean reaches the target",
        )
    _check_unseen(crossing)


def _solutions() -> tuple[Callable[..., Any], ...]:
    """One right answer each, under the names that the notebook asks for."""

    def three_parts(posteriors):
        """Entropy of the mean, mean of the entropies, and their differences."""

        def entropy(p):
            return -(p * np.log(np.where(p > 0, p, 1))).sum(-1)

        of_mean, indecision = entropy(posteriors.mean(0)), entropy(posteriors).mean()
        return of_mean - indecision, np.log(posteriors.shape[1]) - of_mean, indecision

    def align(a, b, K):
        """The largest cell of the table names a pair; its row and column are gone."""
        table, names = np.zeros((K, K)), np.zeros(K, dtype=int)
        np.add.at(table, (b, a), 1)
        for _ in range(K):
            of_b, of_a = np.unravel_index(table.argmax(), table.shape)
            names[of_b] = of_a
            table[of_b], table[:, of_a] = -1, -1
        return names

    def unigrams(counts, K, seed):
        """Weighted counts + 0.1, and then Bayes by log-sum-exp: all texts in one product."""
        posteriors = np.random.default_rng(seed).dirichlet(np.ones(K), size=len(counts))
        path = []
        for _ in range(60):
            words = posteriors.T @ counts + 0.1
            words = np.log(words / words.sum(1, keepdims=True))
            scores = counts @ words.T - np.log(K)
            log_p = np.logaddexp.reduce(scores, axis=1)
            path.append(log_p.sum() + 0.1 * words.sum())
            posteriors = np.exp(scores - log_p[:, None])
        return posteriors, path

    def crossing(features, labels, target, seed):
        """The mean over splits first, and then the first size above the target."""
        from sklearn.linear_model import LogisticRegression

        random = np.random.default_rng(seed)
        for size in (16, 32, 64, 128, 256):
            right = []
            for _ in range(30):
                order = random.permutation(len(labels))
                used, rest = order[:size], order[size:]
                model = LogisticRegression().fit(features[used], labels[used])
                right.append(100 * model.score(features[rest], labels[rest]))
            if np.mean(right) >= target:
                break
        return size

    return three_parts, align, unigrams, crossing


_three_parts, _align, _unigrams, _crossing = _solutions()

split_of_log_k = Exercise("Split log K", _check_split, (_three_parts,))
align_two_runs = Exercise("Align two runs", _check_align, (_align,))
baseline = Exercise("A baseline in ten lines", _check_mixture, (_unigrams,))
labels_worth = Exercise("What are labels worth?", _check_crossing, (_crossing,))
